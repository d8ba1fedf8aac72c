//! A segment file: its name, its header page, and how one comes into being without ever being seen half made.

use std::hash::{BuildHasher, RandomState};

use crate::block::{checksum, u32_at, u64_at};
use crate::disk::{Disk, DiskFile, read_up_to, write_all_at};
use crate::error::{JournalError, Result};

/// Blocks start on the second page, so that no write of theirs touches the header.
pub(crate) const SEGMENT_DATA_START: u64 = 4096;
pub(crate) const FORMAT_VERSION: u32 = 1;
pub(crate) const PARTIAL_SUFFIX: &str = ".partial";
const MAGIC: [u8; 8] = *b"FKJOURN\xB7";
const HEADER_BYTES: usize = 48;
const PREFIX: &str = "segment-";
const SUFFIX: &str = ".journal";

/// What a segment's first page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Counted from 1 without holes: a missing file shows.
    pub(crate) index: u64,
    pub(crate) first_sequence: u64,
    /// The length that was reserved for the file.
    pub(crate) size: u64,
    /// Chosen once per journal: files of two journals do not mix unseen.
    pub(crate) salt: u32,
}

impl SegmentHeader {
    pub(crate) fn name(&self) -> String {
        segment_name(self.index)
    }

    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.salt.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.index.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.size.to_le_bytes());
        let crc = checksum(0, &bytes[..40]);
        bytes[40..44].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Read the header of the segment with this index.
    pub(crate) fn read(disk: &dyn Disk, file: &dyn DiskFile, index: u64) -> Result<Self> {
        let path = disk.path(&segment_name(index));
        let mut bytes = [0; HEADER_BYTES];
        read_up_to(file, 0, &mut bytes)
            .map_err(|source| JournalError::of("read", &path, source))?;
        let damaged = |reason: &str| JournalError::Corrupt {
            file: path.clone(),
            offset: 0,
            reason: reason.into(),
            advice: RESTORE.into(),
        };
        if bytes[..8] != MAGIC {
            return Err(damaged("it does not begin as a journal segment"));
        }
        let found = u32_at(&bytes, 8);
        if found != FORMAT_VERSION {
            return Err(JournalError::Version {
                file: path,
                found,
                supported: FORMAT_VERSION,
            });
        }
        if u32_at(&bytes, 40) != checksum(0, &bytes[..40]) {
            return Err(damaged("the checksum of its header does not match"));
        }
        let header = Self {
            salt: u32_at(&bytes, 12),
            index: u64_at(&bytes, 16),
            first_sequence: u64_at(&bytes, 24),
            size: u64_at(&bytes, 32),
        };
        if header.index != index {
            return Err(damaged(&format!(
                "its header says that it is segment {}",
                header.index
            )));
        }
        Ok(header)
    }

    /// Make the file, durable with its name; nothing is left behind when the disk is full.
    pub(crate) fn create(&self, disk: &dyn Disk) -> Result<Box<dyn DiskFile>> {
        create_whole(disk, &self.name(), |file| {
            file.allocate(self.size)?;
            write_all_at(file, 0, &self.encode())
        })
    }
}

/// What every message about a damaged file recommends first.
pub(crate) const RESTORE: &str = "restore the file from a copy";

/// Make a file that is seen under `name` only once it is whole and durable.
pub(crate) fn create_whole(
    disk: &dyn Disk,
    name: &str,
    fill: impl FnOnce(&dyn DiskFile) -> std::io::Result<()>,
) -> Result<Box<dyn DiskFile>> {
    let path = disk.path(name);
    let partial = format!("{name}{PARTIAL_SUFFIX}");
    let made = disk.create(&partial).and_then(|file| {
        fill(&*file)?;
        file.sync()?;
        disk.rename(&partial, name)?;
        Ok(file)
    });
    let file = made.map_err(|source| {
        // Its space is wanted back at once; should that fail too, `open` removes it.
        let _ = disk.remove(&partial);
        JournalError::of("make", &path, source)
    })?;
    disk.sync_names().map_err(|source| JournalError::Poisoned {
        cause: format!(
            "could not make the name {} durable: {source}",
            path.display()
        ),
    })?;
    Ok(file)
}

pub(crate) fn segment_name(index: u64) -> String {
    format!("{PREFIX}{index:010}{SUFFIX}")
}

/// Return the indices of the segment files among `names`, ascending.
pub(crate) fn segment_indices(names: &[String]) -> Vec<u64> {
    let mut indices: Vec<u64> = names
        .iter()
        .filter_map(|name| number_in(name, PREFIX, SUFFIX))
        .collect();
    indices.sort_unstable();
    indices
}

/// Return the number between `prefix` and `suffix`.
pub(crate) fn number_in(name: &str, prefix: &str, suffix: &str) -> Option<u64> {
    name.strip_prefix(prefix)?
        .strip_suffix(suffix)?
        .parse()
        .ok()
}

/// A salt that no other journal has; it guards against mix-ups, not against attackers.
pub(crate) fn new_salt() -> u32 {
    RandomState::new().hash_one(std::process::id()) as u32
}
