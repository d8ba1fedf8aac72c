//! Multipart uploads: a folder each, with a description and the parts as files, until they become one object.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cap_std::fs::Dir;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};

use crate::conditions::WriteConditions;
use crate::error::{from_io, is_absent};
use crate::folder::{Bucket, Folder};
use crate::keys::Key;
use crate::record::Headers;
use crate::staging::{Expected, Sealed, hex, unique_id};

/// S3's limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
const PART_NUMBER_MAX: i32 = 10_000;
const PART_BYTES_MIN: u64 = 5 << 20;

/// An upload that was not touched for so long was given up by its client (a guess).
const ABANDONED_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

const DESCRIPTION: &str = "upload.json";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Description {
    bucket: String,
    key: String,
    headers: Headers,
}

/// An upload that goes on.
pub(crate) struct Upload {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) initiated: SystemTime,
    bucket: String,
    headers: Headers,
    dir: Dir,
}

pub(crate) struct Part {
    pub(crate) number: i32,
    /// The MD5 of the part in hexadecimal.
    pub(crate) etag: String,
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
}

impl Part {
    fn file_name(&self) -> String {
        part_name(self.number, &self.etag)
    }
}

fn part_name(number: i32, etag: &str) -> String {
    format!("{number:05}-{etag}")
}

/// Begins an upload and returns its id.
pub(crate) fn create(
    folder: &Folder,
    bucket: &Bucket,
    key: &Key,
    headers: Headers,
) -> S3Result<String> {
    let id = unique_id();
    let description = Description {
        bucket: bucket.name.clone(),
        key: key.text().to_owned(),
        headers,
    };
    let text = serde_json::to_vec(&description).map_err(|error| from_io(error.into()))?;
    let mut staged = folder.stage(ChecksumHasher::default()).map_err(from_io)?;
    staged.write(&text).map_err(from_io)?;
    let mut sealed = staged.seal(&Expected::default())?;
    folder.uploads.create_dir(&id).map_err(from_io)?;
    let placed = folder
        .uploads
        .open_dir(&id)
        .and_then(|dir| sealed.place(&dir, Path::new(DESCRIPTION)));
    if let Err(error) = placed {
        let _ = folder.uploads.remove_dir_all(&id);
        return Err(from_io(error));
    }
    Ok(id)
}

/// Finds an upload of this key.
pub(crate) fn find(folder: &Folder, bucket: &str, key: &Key, id: &str) -> S3Result<Upload> {
    let upload = open(folder, id)?;
    if upload.bucket != bucket || upload.key != key.text() {
        return Err(s3_error!(NoSuchUpload));
    }
    Ok(upload)
}

fn open(folder: &Folder, id: &str) -> S3Result<Upload> {
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id {
        return Err(s3_error!(NoSuchUpload));
    }
    let read = || -> std::io::Result<(Dir, SystemTime, Vec<u8>)> {
        let dir = folder.uploads.open_dir(id)?;
        let mut file = dir.open(DESCRIPTION)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let initiated = file.metadata()?.modified()?.into_std();
        Ok((dir, initiated, text))
    };
    let (dir, initiated, text) = match read() {
        Ok(found) => found,
        Err(error) if is_absent(&error) => return Err(s3_error!(NoSuchUpload)),
        Err(error) => return Err(from_io(error)),
    };
    let description: Description =
        serde_json::from_slice(&text).map_err(|error| s3_error!(error, NoSuchUpload))?;
    Ok(Upload {
        id: id.to_owned(),
        key: description.key,
        initiated,
        bucket: description.bucket,
        headers: description.headers,
        dir,
    })
}

/// All uploads of a bucket by key, then by id.
pub(crate) fn list(folder: &Folder, bucket: &str) -> S3Result<Vec<Upload>> {
    let mut found = Vec::new();
    for entry in folder.uploads.entries().map_err(from_io)? {
        let name = entry.map_err(from_io)?.file_name();
        // One that ends at this moment is not there any more.
        if let Some(Ok(upload)) = name.to_str().map(|id| open(folder, id))
            && upload.bucket == bucket
        {
            found.push(upload);
        }
    }
    found.sort_by(|left, right| (&left.key, &left.id).cmp(&(&right.key, &right.id)));
    Ok(found)
}

/// Removes uploads that nobody goes on with.
pub(crate) fn remove_abandoned(folder: &Folder, now: SystemTime) -> std::io::Result<()> {
    for entry in folder.uploads.entries()? {
        let entry = entry?;
        let touched = entry.metadata()?.modified()?.into_std();
        if now
            .duration_since(touched)
            .is_ok_and(|age| age > ABANDONED_AFTER)
        {
            folder.uploads.remove_dir_all(entry.file_name())?;
        }
    }
    Ok(())
}

pub(crate) fn check_part_number(number: i32) -> S3Result<()> {
    if (1..=PART_NUMBER_MAX).contains(&number) {
        return Ok(());
    }
    Err(s3_error!(
        InvalidArgument,
        "part numbers go from 1 to {PART_NUMBER_MAX}"
    ))
}

impl Upload {
    /// Stores a part in the place of an earlier one of its number; the answer is the ETag.
    pub(crate) fn put_part(
        &self,
        folder: &Folder,
        number: i32,
        mut sealed: Sealed,
    ) -> S3Result<String> {
        let etag = sealed.md5_hex();
        let name = part_name(number, &etag);
        let _guard = folder.lock("", &self.id);
        match sealed.place(&self.dir, Path::new(&name)) {
            Err(error) if is_absent(&error) => return Err(s3_error!(NoSuchUpload)),
            placed => placed.map_err(from_io)?,
        }
        for part in self.parts()? {
            if part.number == number && part.etag != etag {
                self.dir.remove_file(part.file_name()).map_err(from_io)?;
            }
        }
        Ok(etag)
    }

    /// The parts that are there, by number.
    pub(crate) fn parts(&self) -> S3Result<Vec<Part>> {
        let mut parts = Vec::new();
        for entry in self.dir.entries().map_err(from_io)? {
            let entry = entry.map_err(from_io)?;
            let name = entry.file_name();
            let Some((number, etag)) = name.to_str().and_then(|name| name.split_once('-')) else {
                continue;
            };
            let Ok(number) = number.parse() else {
                continue;
            };
            let metadata = match entry.metadata() {
                Err(error) if is_absent(&error) => continue,
                metadata => metadata.map_err(from_io)?,
            };
            parts.push(Part {
                number,
                etag: etag.to_owned(),
                size: metadata.len(),
                modified: metadata.modified().map_err(from_io)?.into_std(),
            });
        }
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    /// Makes one object of the parts that are named, in their order; the answer is the ETag.
    pub(crate) fn complete(
        self,
        folder: &Folder,
        bucket: &Bucket,
        key: &Key,
        wanted: &[(i32, String)],
        conditions: &WriteConditions,
    ) -> S3Result<String> {
        let guard = folder.lock("", &self.id);
        let chosen = choose(self.parts()?, wanted)?;
        let mut staged = folder.stage(ChecksumHasher::default()).map_err(from_io)?;
        let mut digests = Md5::new();
        for part in &chosen {
            let file = self.dir.open(part.file_name()).map_err(from_io)?;
            staged.append(&mut file.into_std()).map_err(from_io)?;
            let digest = hex_simd::decode_to_vec(&part.etag).map_err(|_| s3_error!(InvalidPart))?;
            digests.update(&digest);
        }
        let sealed = staged.seal(&Expected::default())?.without_checksums();
        drop(guard);
        let etag = format!("{}-{}", hex(&digests.finalize()), chosen.len());
        let headers = self.headers.clone();
        folder.put(bucket, key, sealed, etag.clone(), headers, conditions)?;
        // The object is there: what is left of the upload goes away as an abandoned one if not now.
        let _ = folder.uploads.remove_dir_all(&self.id);
        Ok(etag)
    }

    pub(crate) fn abort(self, folder: &Folder) -> S3Result<()> {
        let _guard = folder.lock("", &self.id);
        match folder.uploads.remove_dir_all(&self.id) {
            Err(error) if is_absent(&error) => Err(s3_error!(NoSuchUpload)),
            removed => removed.map_err(from_io),
        }
    }
}

fn choose(present: Vec<Part>, wanted: &[(i32, String)]) -> S3Result<Vec<Part>> {
    if wanted.is_empty() {
        return Err(s3_error!(
            MalformedXML,
            "an upload is completed with at least one part"
        ));
    }
    if wanted.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        return Err(s3_error!(InvalidPartOrder));
    }
    let mut present = present.into_iter();
    let mut chosen: Vec<Part> = Vec::with_capacity(wanted.len());
    for (number, etag) in wanted {
        let part = present
            .find(|part| part.number == *number)
            .filter(|part| part.etag == *etag)
            .ok_or_else(|| {
                s3_error!(InvalidPart, "part {number} was not uploaded with this ETag")
            })?;
        chosen.push(part);
    }
    let all_but_last = &chosen[..chosen.len() - 1];
    if all_but_last.iter().any(|part| part.size < PART_BYTES_MIN) {
        return Err(s3_error!(EntityTooSmall));
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::S3ErrorCode;

    fn part(number: i32, size: u64) -> Part {
        Part {
            number,
            etag: format!("e{number}"),
            size,
            modified: SystemTime::UNIX_EPOCH,
        }
    }

    fn chosen(wanted: &[(i32, &str)]) -> Result<Vec<i32>, S3ErrorCode> {
        let present = vec![part(1, PART_BYTES_MIN), part(2, 1), part(7, 3)];
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(number, etag)| (*number, (*etag).to_owned()))
            .collect();
        match choose(present, &wanted) {
            Ok(parts) => Ok(parts.iter().map(|part| part.number).collect()),
            Err(error) => Err(error.code().clone()),
        }
    }

    #[test]
    fn parts_are_chosen_in_order() {
        assert_eq!(chosen(&[(1, "e1"), (7, "e7")]), Ok(vec![1, 7]));
        assert_eq!(chosen(&[(7, "e7")]), Ok(vec![7]));
    }

    #[test]
    fn a_wrong_choice_is_refused() {
        assert_eq!(chosen(&[]), Err(S3ErrorCode::MalformedXML));
        assert_eq!(
            chosen(&[(7, "e7"), (1, "e1")]),
            Err(S3ErrorCode::InvalidPartOrder)
        );
        assert_eq!(
            chosen(&[(1, "e1"), (1, "e1")]),
            Err(S3ErrorCode::InvalidPartOrder)
        );
        assert_eq!(chosen(&[(1, "e2")]), Err(S3ErrorCode::InvalidPart));
        assert_eq!(chosen(&[(3, "e3")]), Err(S3ErrorCode::InvalidPart));
        assert_eq!(
            chosen(&[(2, "e2"), (7, "e7")]),
            Err(S3ErrorCode::EntityTooSmall)
        );
    }

    #[test]
    fn old_uploads_are_given_up() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path(), false).unwrap();
        folder.create_bucket("data").unwrap();
        let bucket = folder.bucket("data").unwrap();
        let key = Key::parse("a").unwrap();
        create(&folder, &bucket, &key, Headers::default()).unwrap();
        let now = SystemTime::now();
        remove_abandoned(&folder, now).unwrap();
        assert_eq!(list(&folder, "data").unwrap().len(), 1);
        remove_abandoned(&folder, now + ABANDONED_AFTER + Duration::from_secs(60)).unwrap();
        assert!(list(&folder, "data").unwrap().is_empty());
    }
}
