//! What a file cannot carry about its object, kept beside it as JSON.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use s3s::dto::{Checksum, ETag};
use serde::{Deserialize, Serialize};

/// The headers that come back with an object as they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Headers {
    pub(crate) content_type: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
    pub(crate) user: BTreeMap<String, String>,
}

/// The checksums that a client gave and the server verified, in base64 as they travel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Checksums {
    pub(crate) crc32: Option<String>,
    pub(crate) crc32c: Option<String>,
    pub(crate) crc64nvme: Option<String>,
    pub(crate) sha1: Option<String>,
    pub(crate) sha256: Option<String>,
}

impl From<Checksum> for Checksums {
    fn from(sums: Checksum) -> Self {
        Checksums {
            crc32: sums.checksum_crc32,
            crc32c: sums.checksum_crc32c,
            crc64nvme: sums.checksum_crc64nvme,
            sha1: sums.checksum_sha1,
            sha256: sums.checksum_sha256,
        }
    }
}

/// The side record of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) key: String,
    /// Size and modification time of the file described: a file that somebody else wrote since then has other ones.
    size: u64,
    modified_ns: i128,
    pub(crate) etag: String,
    pub(crate) headers: Headers,
    pub(crate) checksums: Checksums,
}

impl Record {
    pub(crate) fn new(
        key: &str,
        file: &Metadata,
        etag: String,
        headers: Headers,
        checksums: Checksums,
    ) -> Self {
        Record {
            key: key.to_owned(),
            size: file.len(),
            modified_ns: modified_ns(file),
            etag,
            headers,
            checksums,
        }
    }

    /// Whether the record was written for the file as it is now.
    pub(crate) fn describes(&self, key: &str, file: &Metadata) -> bool {
        self.key == key
            && (key.ends_with('/')
                || (self.size == file.len() && self.modified_ns == modified_ns(file)))
    }
}

fn modified_ns(file: &Metadata) -> i128 {
    i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec())
}

/// The ETag of a file that has no record. Its form is that of a multipart upload, so that nobody takes it for an MD5.
pub(crate) fn etag_of_file(file: &Metadata) -> String {
    format!("{:016x}{:016x}-1", modified_ns(file) as u64, file.len())
}

pub(crate) fn strong(etag: &str) -> ETag {
    ETag::Strong(etag.to_owned())
}
