//! Objects as files: the only place that knows where what lies.
//!
//! `<root>/<bucket>/<key>` is the object, `<root>/.meta/objects/<bucket>/<sha256 of the key>` its record,
//! `<root>/.meta/staging` holds files being written and `<root>/.meta/uploads` multipart uploads. File and record are
//! replaced under a lock of the key, and read under it, so that a reader sees both of one version.

use std::fs::File;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Sha256};
use s3s::path::check_bucket_name;
use s3s::{S3Result, s3_error};

use crate::conditions::WriteConditions;
use crate::error::{from_io, is_absent, taken};
use crate::keys::Key;
use crate::record::{Checksums, Headers, Record, etag_of_file};
use crate::staging::{Expected, Sealed, Staged, hex};

/// A name that no bucket can have.
const META: &str = ".meta";

/// Enough for the few threads that can hold one.
const LOCK_COUNT: usize = 64;

/// How often a place is tried for whose folders another request prunes at the same time.
const PLACE_TRIES: usize = 16;

/// The bucket that would hide the health check.
const RESERVED_BUCKET: &str = "healthcheck";

pub(crate) struct Folder {
    root: Dir,
    records: Dir,
    staging: Arc<Dir>,
    pub(crate) uploads: Dir,
    locks: [Mutex<()>; LOCK_COUNT],
    sync: bool,
}

/// An open bucket.
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) dir: Dir,
    records: Dir,
}

/// All that is known of an object.
pub(crate) struct Description {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
    pub(crate) etag: String,
    pub(crate) headers: Headers,
    pub(crate) checksums: Checksums,
}

/// An object that is open for reading; an object that stands for a folder has no file.
pub(crate) struct Object {
    pub(crate) description: Description,
    pub(crate) file: Option<File>,
}

impl Folder {
    /// Opens or makes the folder and forgets files that an earlier server left unfinished.
    pub(crate) fn open(root: &Path, sync: bool) -> io::Result<Folder> {
        std::fs::create_dir_all(root)?;
        let root = Dir::open_ambient_dir(root, ambient_authority())?;
        let subfolder = |name: &str| -> io::Result<Dir> {
            let path = Path::new(META).join(name);
            root.create_dir_all(&path)?;
            root.open_dir(&path)
        };
        let staging = subfolder("staging")?;
        for entry in staging.entries()? {
            staging.remove_file(entry?.file_name())?;
        }
        Ok(Folder {
            records: subfolder("objects")?,
            uploads: subfolder("uploads")?,
            staging: Arc::new(staging),
            root,
            locks: std::array::from_fn(|_| Mutex::new(())),
            sync,
        })
    }

    pub(crate) fn stage(&self, hasher: ChecksumHasher) -> io::Result<Staged> {
        Staged::create(&self.staging, hasher)
    }

    /// Keeps others away from whatever the name stands for; a thread must not hold two of these.
    pub(crate) fn lock(&self, bucket: &str, name: &str) -> MutexGuard<'_, ()> {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let index = hasher.hash_one((bucket, name)) as usize % LOCK_COUNT;
        self.locks[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn create_bucket(&self, name: &str) -> S3Result<()> {
        if !check_bucket_name(name) || name == RESERVED_BUCKET {
            return Err(s3_error!(InvalidBucketName));
        }
        match self.root.create_dir(name) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(s3_error!(BucketAlreadyOwnedByYou))
            }
            Err(error) => Err(from_io(error)),
        }
    }

    pub(crate) fn bucket(&self, name: &str) -> S3Result<Bucket> {
        let dir = match self.root.open_dir(name) {
            Ok(dir) => dir,
            Err(error) if is_absent(&error) => return Err(s3_error!(NoSuchBucket)),
            Err(error) => return Err(from_io(error)),
        };
        let records = match self.records.open_dir(name) {
            Err(error) if is_absent(&error) => {
                self.records.create_dir_all(name).map_err(from_io)?;
                self.records.open_dir(name)
            }
            other => other,
        };
        Ok(Bucket {
            name: name.to_owned(),
            dir,
            records: records.map_err(from_io)?,
        })
    }

    /// Names and creation times, sorted.
    pub(crate) fn buckets(&self) -> S3Result<Vec<(String, SystemTime)>> {
        let mut found = Vec::new();
        for entry in self.root.entries().map_err(from_io)? {
            let entry = entry.map_err(from_io)?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() && check_bucket_name(&name) {
                let modified = metadata.modified().map_err(from_io)?;
                found.push((name, modified.into_std()));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Removes a bucket that holds no object; `bucket` was found empty by the caller.
    pub(crate) fn remove_bucket(&self, bucket: Bucket) -> S3Result<()> {
        remove_empty_folders(&bucket.dir).map_err(from_io)?;
        match self.root.remove_dir(&bucket.name) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOTEMPTY) => {
                return Err(s3_error!(BucketNotEmpty));
            }
            Err(error) => return Err(from_io(error)),
        }
        self.records.remove_dir_all(&bucket.name).map_err(from_io)
    }

    pub(crate) fn read(&self, bucket: &Bucket, key: &Key) -> S3Result<Object> {
        let _guard = self.lock(&bucket.name, key.text());
        bucket.read(key)?.ok_or_else(|| s3_error!(NoSuchKey))
    }

    /// Puts a file in the place of a key; the answer is the ETag.
    pub(crate) fn put(
        &self,
        bucket: &Bucket,
        key: &Key,
        mut sealed: Sealed,
        etag: String,
        headers: Headers,
        conditions: &WriteConditions,
    ) -> S3Result<()> {
        if key.is_folder() && sealed.size() > 0 {
            return Err(s3_error!(
                InvalidRequest,
                "a key that ends in a slash stands for a folder and cannot have content"
            ));
        }
        let checksums = sealed.checksums.clone().into();
        let record = Record::new(key.text(), &sealed.metadata, etag, headers, checksums);
        let mut record = self.stage_record(&record)?;
        if self.sync {
            sealed.sync().map_err(from_io)?;
        }
        let _guard = self.lock(&bucket.name, key.text());
        if !conditions.is_empty() {
            let present = bucket.describe(key)?;
            conditions.check(present.as_ref().map(|found| found.etag.as_str()))?;
        }
        // The file first: a record without its file would hide that the file of before is the current one.
        if key.is_folder() {
            bucket.make_folder(key.path()).map_err(from_io)?;
        } else {
            bucket.place(key, &mut sealed)?;
        }
        let name = record_name(key.text());
        record
            .place(&bucket.records, name.as_ref())
            .map_err(from_io)
    }

    fn stage_record(&self, record: &Record) -> S3Result<Sealed> {
        let text = serde_json::to_vec(record).map_err(|error| from_io(error.into()))?;
        let mut staged = self.stage(ChecksumHasher::default()).map_err(from_io)?;
        staged.write(&text).map_err(from_io)?;
        staged.seal(&Expected::default())
    }

    /// Removes an object if there is one, and the folders that only it kept.
    pub(crate) fn delete(
        &self,
        bucket: &Bucket,
        key: &Key,
        conditions: &WriteConditions,
    ) -> S3Result<()> {
        let _guard = self.lock(&bucket.name, key.text());
        if !conditions.is_empty() {
            let present = bucket.describe(key)?;
            conditions.check(present.as_ref().map(|found| found.etag.as_str()))?;
        }
        if !key.is_folder() {
            match bucket.dir.remove_file(key.path()) {
                Err(error) if !is_absent(&error) => return Err(from_io(error)),
                _ => {}
            }
        }
        match bucket.records.remove_file(record_name(key.text())) {
            Err(error) if !is_absent(&error) => return Err(from_io(error)),
            _ => {}
        }
        if key.is_folder() {
            bucket.prune(key.path());
        } else {
            bucket.prune(&key.parent());
        }
        Ok(())
    }
}

impl Bucket {
    /// Describes an object without opening it; None if there is none of this name.
    pub(crate) fn describe(&self, key: &Key) -> S3Result<Option<Description>> {
        let metadata = match self.dir.open_with(key.path(), &reading()) {
            Ok(file) => file.into_std().metadata().map_err(from_io)?,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(from_io(error)),
        };
        Ok(self.description(key, &metadata))
    }

    fn read(&self, key: &Key) -> S3Result<Option<Object>> {
        let file = match self.dir.open_with(key.path(), &reading()) {
            Ok(file) => file.into_std(),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(from_io(error)),
        };
        let metadata = file.metadata().map_err(from_io)?;
        Ok(self.description(key, &metadata).map(|description| Object {
            description,
            file: Some(file).filter(|_| !key.is_folder()),
        }))
    }

    fn description(&self, key: &Key, metadata: &std::fs::Metadata) -> Option<Description> {
        let record = self
            .record(key.text())
            .filter(|record| record.describes(key.text(), metadata));
        let exists = if key.is_folder() {
            metadata.is_dir() && record.is_some()
        } else {
            metadata.is_file()
        };
        if !exists {
            return None;
        }
        let (etag, headers, checksums) = match record {
            Some(record) => (record.etag, record.headers, record.checksums),
            None => (
                etag_of_file(metadata),
                Headers::default(),
                Checksums::default(),
            ),
        };
        Some(Description {
            key: key.text().to_owned(),
            size: if key.is_folder() { 0 } else { metadata.len() },
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            etag,
            headers,
            checksums,
        })
    }

    /// An unreadable record counts as none: the object itself is whole.
    fn record(&self, key: &str) -> Option<Record> {
        let mut text = Vec::new();
        let mut file = self.records.open(record_name(key)).ok()?;
        file.read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Whether a client stored an object that stands for this folder.
    pub(crate) fn has_marker(&self, folder_key: &str) -> bool {
        self.records.exists(record_name(folder_key))
    }

    fn place(&self, key: &Key, sealed: &mut Sealed) -> S3Result<()> {
        let parent = key.parent();
        for _ in 0..PLACE_TRIES {
            match self.make_folder(&parent) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                made => made.map_err(from_io)?,
            }
            match sealed.place(&self.dir, key.path()) {
                Ok(()) => return Ok(()),
                // A delete pruned the folder in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.raw_os_error() == Some(libc::EISDIR) => {
                    // A folder that holds nothing is none to S3, so the object may have its name.
                    let marked = self.has_marker(&format!("{}/", key.text()));
                    if marked || self.dir.remove_dir(key.path()).is_err() {
                        return Err(taken());
                    }
                }
                Err(error) => return Err(from_io(error)),
            }
        }
        Err(s3_error!(OperationAborted))
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        match self.dir.create_dir_all(path) {
            // What is in the way tells why: a file, a link that leads outside, or nothing any more.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.dir.open_dir(path).map(drop)
            }
            made => made,
        }
    }

    /// Removes folders that became empty, from the inside out; a marked folder is an object of its own.
    fn prune(&self, innermost: &Path) {
        for folder in innermost.ancestors() {
            let Some(text) = folder.to_str().filter(|text| !text.is_empty()) else {
                return;
            };
            if self.has_marker(&format!("{text}/")) || self.dir.remove_dir(folder).is_err() {
                return;
            }
        }
    }
}

/// Without waiting: a named pipe in the place of a file would hold a thread for ever.
fn reading() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    options
}

fn record_name(key: &str) -> String {
    hex(&Sha256::checksum(key.as_bytes()))
}

fn remove_empty_folders(folder: &Dir) -> io::Result<()> {
    for entry in folder.entries()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_empty_folders(&entry.open_dir()?)?;
            // A folder that is not empty shows up when the bucket itself is removed.
            let _ = folder.remove_dir(entry.file_name());
        }
    }
    Ok(())
}
