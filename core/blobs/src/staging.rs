//! Files being written: invisible until they are placed, gone if they never are.

use std::collections::hash_map::RandomState;
use std::fs::{File, Metadata};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cap_std::fs::{Dir, OpenOptions};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::Checksum;
use s3s::{S3Result, s3_error};

use crate::error::from_io;

static STAGED_COUNT: AtomicU64 = AtomicU64::new(0);

/// What a client said about a body before or while sending it.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    pub(crate) length: Option<u64>,
    pub(crate) md5: Option<[u8; 16]>,
    pub(crate) checksums: Checksum,
}

/// A name in the staging folder that is removed again unless its file was placed.
struct StagedName {
    staging: Arc<Dir>,
    name: String,
    placed: bool,
}

impl Drop for StagedName {
    fn drop(&mut self) {
        if !self.placed {
            // A name that cannot be removed now is removed when the folder is opened next.
            let _ = self.staging.remove_file(&self.name);
        }
    }
}

/// A file that takes bytes and hashes them.
pub(crate) struct Staged {
    name: StagedName,
    file: File,
    size: u64,
    md5: Md5,
    checksums: ChecksumHasher,
}

impl Staged {
    pub(crate) fn create(staging: &Arc<Dir>, checksums: ChecksumHasher) -> io::Result<Staged> {
        let name = StagedName {
            staging: staging.clone(),
            name: format!(
                "{}-{}",
                std::process::id(),
                STAGED_COUNT.fetch_add(1, Ordering::Relaxed)
            ),
            placed: false,
        };
        let file = staging
            .open_with(
                &name.name,
                OpenOptions::new().write(true).create(true).truncate(true),
            )?
            .into_std();
        Ok(Staged {
            name,
            file,
            size: 0,
            md5: Md5::new(),
            checksums,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.md5.update(bytes);
        self.checksums.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Appends a whole file without hashing, which the kernel may do without copying.
    pub(crate) fn append(&mut self, source: &mut File) -> io::Result<()> {
        self.size += io::copy(source, &mut self.file)?;
        Ok(())
    }

    /// Compares the bytes with what was said about them.
    pub(crate) fn seal(self, expected: &Expected) -> S3Result<Sealed> {
        if expected.length.is_some_and(|length| length != self.size) {
            return Err(s3_error!(IncompleteBody));
        }
        let md5 = self.md5.finalize();
        if expected.md5.is_some_and(|expected| expected != md5) {
            return Err(s3_error!(
                BadDigest,
                "the Content-MD5 that was given does not fit the content"
            ));
        }
        let checksums = self.checksums.finalize();
        check_checksums(&expected.checksums, &checksums)?;
        let metadata = self.file.metadata().map_err(from_io)?;
        Ok(Sealed {
            name: self.name,
            file: self.file,
            metadata,
            md5,
            checksums,
        })
    }
}

/// A complete file, ready to be placed.
pub(crate) struct Sealed {
    name: StagedName,
    file: File,
    pub(crate) metadata: Metadata,
    pub(crate) md5: [u8; 16],
    pub(crate) checksums: Checksum,
}

impl Sealed {
    pub(crate) fn size(&self) -> u64 {
        self.metadata.len()
    }

    /// Drops what was not computed over all bytes because they came as whole files.
    pub(crate) fn without_checksums(mut self) -> Sealed {
        self.checksums = Checksum::default();
        self
    }

    pub(crate) fn md5_hex(&self) -> String {
        hex(&self.md5)
    }

    /// Waits until the bytes are on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Gives the file its final name, replacing what had it; after an error it can be placed elsewhere or again.
    pub(crate) fn place(&mut self, folder: &Dir, path: &Path) -> io::Result<()> {
        self.name.staging.rename(&self.name.name, folder, path)?;
        self.name.placed = true;
        Ok(())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    hex_simd::encode_to_string(bytes, hex_simd::AsciiCase::Lower)
}

/// 32 hexadecimal digits that no other call returns.
pub(crate) fn unique_id() -> String {
    let part = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", part(), part())
}

fn check_checksums(expected: &Checksum, actual: &Checksum) -> S3Result<()> {
    let pairs = [
        (&expected.checksum_crc32, &actual.checksum_crc32),
        (&expected.checksum_crc32c, &actual.checksum_crc32c),
        (&expected.checksum_crc64nvme, &actual.checksum_crc64nvme),
        (&expected.checksum_sha1, &actual.checksum_sha1),
        (&expected.checksum_sha256, &actual.checksum_sha256),
    ];
    let fits = pairs
        .iter()
        .all(|(expected, actual)| expected.is_none() || expected == actual);
    if fits {
        return Ok(());
    }
    Err(s3_error!(
        BadDigest,
        "the checksum that was given does not fit the content"
    ))
}
