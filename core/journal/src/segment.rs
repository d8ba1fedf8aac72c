//! A segment file: a header of 64 bytes, then blocks, then zeros.

use std::sync::Arc;

use crate::disk::{Disk, DiskFile, read_up_to, write_all_at};
use crate::error::{JournalError, Result};

pub(crate) const HEADER_BYTES: u64 = 64;
const MAGIC: &[u8; 8] = b"FKJOURNL";
const VERSION: u32 = 1;
const RESTORE: &str = "restore the file from a copy, or move the data folder aside to begin anew";

/// An open segment and what its header says.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) index: u64,
    pub(crate) first_sequence: u64,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// The file name of a segment.
pub(crate) fn name(index: u64) -> String {
    format!("segment-{index:010}.journal")
}

/// The index in a segment's file name.
pub(crate) fn index_of(name: &str) -> Option<u64> {
    name.strip_prefix("segment-")?
        .strip_suffix(".journal")?
        .parse()
        .ok()
}

impl Segment {
    /// Makes a segment with room for `bytes` and gives it its name once it is whole.
    pub(crate) fn create(
        disk: &dyn Disk,
        index: u64,
        first_sequence: u64,
        bytes: u64,
    ) -> Result<Self> {
        let name = name(index);
        let partial = format!("{name}.partial");
        let path = disk.path(&name);
        let made = disk.create(&partial).and_then(|file| {
            file.allocate(bytes)?;
            write_all_at(&*file, 0, &header(index, first_sequence))?;
            file.sync()?;
            disk.rename(&partial, &name)?;
            disk.sync_names()?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(Segment {
                name,
                index,
                first_sequence,
                file: Arc::from(file),
            }),
            Err(source) => {
                let _ = disk.remove(&partial);
                Err(JournalError::of("make", &path, source))
            }
        }
    }

    /// Opens a segment and checks its header.
    pub(crate) fn open(disk: &dyn Disk, index: u64) -> Result<Self> {
        let name = name(index);
        let path = disk.path(&name);
        let file = disk
            .open(&name)
            .map_err(|source| JournalError::of("open", &path, source))?;
        let mut bytes = [0; HEADER_BYTES as usize];
        let length = read_up_to(&*file, 0, &mut bytes)
            .map_err(|source| JournalError::of("read", &path, source))?;
        let corrupt = |reason: &str| JournalError::Corrupt {
            file: path.clone(),
            offset: 0,
            reason: reason.into(),
            advice: RESTORE.into(),
        };
        if length < bytes.len() || &bytes[..8] != MAGIC {
            return Err(corrupt("it does not begin like a journal segment"));
        }
        let number =
            |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        let found = number(8) as u32;
        if found != VERSION {
            return Err(JournalError::Version {
                file: path,
                found,
                supported: VERSION,
            });
        }
        if crc32fast::hash(&bytes[..56]) as u64 != number(56) {
            return Err(corrupt("its header does not match its checksum"));
        }
        if number(16) != index {
            return Err(corrupt("its header names another segment"));
        }
        Ok(Segment {
            name,
            index,
            first_sequence: number(24),
            file: Arc::from(file),
        })
    }

    /// The error for a block of this segment that was durable once and no longer is what it was.
    pub(crate) fn corrupt(
        &self,
        disk: &dyn Disk,
        offset: u64,
        reason: impl Into<String>,
    ) -> JournalError {
        let (file, advice) = (disk.path(&self.name), RESTORE.to_owned());
        JournalError::Corrupt {
            file,
            offset,
            reason: reason.into(),
            advice,
        }
    }
}

fn header(index: u64, first_sequence: u64) -> [u8; HEADER_BYTES as usize] {
    let mut bytes = [0; HEADER_BYTES as usize];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&u64::from(VERSION).to_le_bytes());
    bytes[16..24].copy_from_slice(&index.to_le_bytes());
    bytes[24..32].copy_from_slice(&first_sequence.to_le_bytes());
    let sum = u64::from(crc32fast::hash(&bytes[..56]));
    bytes[56..].copy_from_slice(&sum.to_le_bytes());
    bytes
}
