//! Whole objects: get, put, copy, delete.

use std::io::Read;
use std::sync::Arc;

use s3s::checksum::ChecksumHasher;
use s3s::crypto::Checksum as _;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders, s3_error};

use super::{check_version, refuse};
use crate::body::{FileStream, blocking, receive};
use crate::conditions::{ReadConditions, WriteConditions};
use crate::error::from_io;
use crate::folder::{Description, Folder, Object};
use crate::keys::Key;
use crate::record::{Checksums, Headers, strong};
use crate::staging::{Expected, Sealed};

/// How much of a file is copied at once.
const COPY_BYTES: usize = 256 << 10;

/// What S3 says of an object whose type nobody told.
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

pub(super) fn head(folder: &Folder, input: HeadObjectInput) -> S3Result<HeadObjectOutput> {
    check_version(input.version_id.as_deref())?;
    refuse(&[
        (input.part_number.is_some(), "partNumber"),
        (
            input.sse_customer_key.is_some(),
            "encryption by the client's key",
        ),
    ])?;
    let (object, _) = find(folder, &input.bucket, &input.key)?;
    let conditions = ReadConditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    let found = object.description;
    conditions.check(&found.etag, found.modified)?;
    let part = Section::of(input.range.as_ref(), found.size)?;
    let sums = shown_checksums(input.checksum_mode.as_ref(), &part, &found.checksums);
    Ok(HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        cache_control: found.headers.cache_control,
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        content_disposition: found.headers.content_disposition,
        content_encoding: found.headers.content_encoding,
        content_language: found.headers.content_language,
        content_length: Some(part.length()),
        content_range: part.header(),
        content_type: content_type(found.headers.content_type),
        e_tag: Some(strong(&found.etag)),
        last_modified: Some(found.modified.into()),
        metadata: user_metadata(found.headers.user),
        ..Default::default()
    })
}

pub(super) fn get(folder: &Folder, input: GetObjectInput) -> S3Result<GetObjectOutput> {
    check_version(input.version_id.as_deref())?;
    refuse(&[
        (input.part_number.is_some(), "partNumber"),
        (
            input.sse_customer_key.is_some(),
            "encryption by the client's key",
        ),
    ])?;
    let (object, _) = find(folder, &input.bucket, &input.key)?;
    let conditions = ReadConditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    let found = object.description;
    conditions.check(&found.etag, found.modified)?;
    let part = Section::of(input.range.as_ref(), found.size)?;
    let body = match object.file {
        Some(file) => {
            let stream = FileStream::open(file, part.start, part.end).map_err(from_io)?;
            Some(StreamingBlob::new(stream))
        }
        None => None,
    };
    let sums = shown_checksums(input.checksum_mode.as_ref(), &part, &found.checksums);
    Ok(GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        body,
        cache_control: found.headers.cache_control,
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        content_disposition: found.headers.content_disposition,
        content_encoding: found.headers.content_encoding,
        content_language: found.headers.content_language,
        content_length: Some(part.length()),
        content_range: part.header(),
        content_type: content_type(found.headers.content_type),
        e_tag: Some(strong(&found.etag)),
        last_modified: Some(found.modified.into()),
        metadata: user_metadata(found.headers.user),
        ..Default::default()
    })
}

pub(super) async fn put(
    folder: &Arc<Folder>,
    mut input: PutObjectInput,
    trailers: Option<TrailingHeaders>,
) -> S3Result<PutObjectOutput> {
    refuse(&[
        (input.tagging.is_some(), "tagging"),
        (
            input.sse_customer_key.is_some(),
            "encryption by the client's key",
        ),
        (
            input.server_side_encryption.is_some(),
            "encryption by the server",
        ),
        (input.object_lock_mode.is_some(), "object lock"),
        (input.object_lock_legal_hold_status.is_some(), "legal hold"),
        (input.write_offset_bytes.is_some(), "appending"),
    ])?;
    let key = Key::parse(&input.key)?;
    let given = Checksum {
        checksum_crc32: input.checksum_crc32.take(),
        checksum_crc32c: input.checksum_crc32c.take(),
        checksum_crc64nvme: input.checksum_crc64nvme.take(),
        checksum_sha1: input.checksum_sha1.take(),
        checksum_sha256: input.checksum_sha256.take(),
        ..Default::default()
    };
    let hasher = hasher(&given, input.checksum_algorithm.as_ref());
    let received = receive(folder, input.body.take(), hasher).await?;
    let expected = expected(
        given,
        trailers.as_ref(),
        input.content_md5.as_deref(),
        input.content_length,
    )?;
    let folder = folder.clone();
    blocking(move || {
        let bucket = folder.bucket(&input.bucket)?;
        let sealed = received.seal(&folder, &expected)?;
        let headers = Headers {
            content_type: input.content_type,
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding.and_then(stored_encoding),
            content_language: input.content_language,
            user: input.metadata.into_iter().flatten().collect(),
        };
        let conditions = WriteConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
        };
        let (etag, sums) = (sealed.md5_hex(), sealed.checksums.clone());
        folder.put(&bucket, &key, sealed, etag.clone(), headers, &conditions)?;
        Ok(PutObjectOutput {
            e_tag: Some(strong(&etag)),
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            ..Default::default()
        })
    })
    .await
}

pub(super) fn copy(folder: &Folder, input: CopyObjectInput) -> S3Result<CopyObjectOutput> {
    refuse(&[
        (
            input.sse_customer_key.is_some(),
            "encryption by the client's key",
        ),
        (
            input.server_side_encryption.is_some(),
            "encryption by the server",
        ),
        (input.object_lock_mode.is_some(), "object lock"),
    ])?;
    let key = Key::parse(&input.key)?;
    let bucket = folder.bucket(&input.bucket)?;
    let conditions = ReadConditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    let source = find_source(folder, &input.copy_source, &conditions)?;
    let replaces = input
        .metadata_directive
        .is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
    let headers = if replaces {
        Headers {
            content_type: input.content_type,
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            user: input.metadata.into_iter().flatten().collect(),
        }
    } else {
        source.description.headers.clone()
    };
    let section = Section::of(None, source.description.size)?;
    let sealed = stage_copy(folder, source, &section)?;
    let (etag, modified) = (
        sealed.md5_hex(),
        sealed.metadata.modified().map_err(from_io)?,
    );
    let unconditional = WriteConditions::default();
    folder.put(&bucket, &key, sealed, etag.clone(), headers, &unconditional)?;
    Ok(CopyObjectOutput {
        copy_object_result: Some(CopyObjectResult {
            e_tag: Some(strong(&etag)),
            last_modified: Some(modified.into()),
            ..Default::default()
        }),
        ..Default::default()
    })
}

pub(super) fn delete(folder: &Folder, input: DeleteObjectInput) -> S3Result<DeleteObjectOutput> {
    check_version(input.version_id.as_deref())?;
    let conditions = WriteConditions {
        if_match: input.if_match,
        if_none_match: None,
    };
    let bucket = folder.bucket(&input.bucket)?;
    folder.delete(&bucket, &Key::parse(&input.key)?, &conditions)?;
    Ok(DeleteObjectOutput::default())
}

pub(super) fn delete_many(
    folder: &Folder,
    input: DeleteObjectsInput,
) -> S3Result<DeleteObjectsOutput> {
    let bucket = folder.bucket(&input.bucket)?;
    let quiet = input.delete.quiet.unwrap_or(false);
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for object in input.delete.objects {
        let conditions = WriteConditions {
            if_match: object.e_tag.map(ETagCondition::ETag),
            if_none_match: None,
        };
        let outcome = check_version(object.version_id.as_deref())
            .and_then(|()| Key::parse(&object.key))
            .and_then(|key| folder.delete(&bucket, &key, &conditions));
        match outcome {
            Ok(()) if quiet => {}
            Ok(()) => deleted.push(DeletedObject {
                key: Some(object.key),
                ..Default::default()
            }),
            Err(error) => errors.push(Error {
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                key: Some(object.key),
                version_id: object.version_id,
            }),
        }
    }
    Ok(DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        ..Default::default()
    })
}

fn find(folder: &Folder, bucket: &str, key: &str) -> S3Result<(Object, Key)> {
    let bucket = folder.bucket(bucket)?;
    let key = Key::parse(key)?;
    Ok((folder.read(&bucket, &key)?, key))
}

/// Opens what a copy is made of.
pub(super) fn find_source(
    folder: &Folder,
    source: &CopySource,
    conditions: &ReadConditions,
) -> S3Result<Object> {
    let CopySource::Bucket {
        bucket,
        key,
        version_id,
    } = source
    else {
        return Err(s3_error!(
            NotImplemented,
            "access points are not supported here"
        ));
    };
    check_version(version_id.as_deref())?;
    let (object, _) = find(folder, bucket, key)?;
    let Description { etag, modified, .. } = &object.description;
    match conditions.check(etag, *modified) {
        // A copy has no "not modified" to answer with.
        Err(error) if error.code() == &S3ErrorCode::NotModified => {
            Err(s3_error!(PreconditionFailed))
        }
        checked => checked.map(|()| object),
    }
}

/// Copies a section of an object into a new file.
pub(super) fn stage_copy(folder: &Folder, source: Object, section: &Section) -> S3Result<Sealed> {
    let mut staged = folder.stage(ChecksumHasher::default()).map_err(from_io)?;
    let copy = || -> std::io::Result<()> {
        let Some(mut file) = source.file else {
            return Ok(());
        };
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(section.start))?;
        let mut rest = file.take(section.end - section.start);
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            match rest.read(&mut buffer)? {
                0 => return Ok(()),
                count => staged.write(&buffer[..count])?,
            }
        }
    };
    copy().map_err(from_io)?;
    staged.seal(&Expected {
        length: Some(section.end - section.start),
        ..Default::default()
    })
}

/// The bytes of an object that are asked for.
pub(super) struct Section {
    start: u64,
    end: u64,
    full: u64,
    partial: bool,
}

impl Section {
    pub(super) fn of(range: Option<&Range>, full: u64) -> S3Result<Section> {
        let (start, end) = match range {
            Some(range) => {
                let range = range.check(full)?;
                (range.start, range.end)
            }
            None => (0, full),
        };
        Ok(Section {
            start,
            end,
            full,
            partial: range.is_some(),
        })
    }

    fn length(&self) -> i64 {
        (self.end - self.start) as i64
    }

    fn header(&self) -> Option<String> {
        self.partial
            .then(|| format!("bytes {}-{}/{}", self.start, self.end - 1, self.full))
    }
}

fn content_type(given: Option<String>) -> Option<String> {
    Some(given.unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned()))
}

fn user_metadata(user: std::collections::BTreeMap<String, String>) -> Option<Metadata> {
    Some(user.into_iter().collect()).filter(|user: &Metadata| !user.is_empty())
}

/// "aws-chunked" tells how the body travelled and is not part of the object.
fn stored_encoding(given: String) -> Option<String> {
    let kept: Vec<_> = given
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.eq_ignore_ascii_case("aws-chunked") && !coding.is_empty())
        .collect();
    Some(kept.join(",")).filter(|kept| !kept.is_empty())
}

/// Checksums are of whole objects, and shown to those who ask.
fn shown_checksums(mode: Option<&ChecksumMode>, section: &Section, known: &Checksums) -> Checksums {
    let asked = mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
    if asked && !section.partial {
        known.clone()
    } else {
        Checksums::default()
    }
}

/// Computes the checksums that were given and the one that is announced for the end of the body.
pub(super) fn hasher(given: &Checksum, announced: Option<&ChecksumAlgorithm>) -> ChecksumHasher {
    let announced = announced.map(ChecksumAlgorithm::as_str);
    let wanted = |value: &Option<String>, name: &str| value.is_some() || announced == Some(name);
    let (crc32, crc32c) = (ChecksumAlgorithm::CRC32, ChecksumAlgorithm::CRC32C);
    let (sha1, sha256) = (ChecksumAlgorithm::SHA1, ChecksumAlgorithm::SHA256);
    let crc64 = ChecksumAlgorithm::CRC64NVME;
    ChecksumHasher {
        crc32: wanted(&given.checksum_crc32, crc32).then(s3s::crypto::Crc32::new),
        crc32c: wanted(&given.checksum_crc32c, crc32c).then(s3s::crypto::Crc32c::new),
        crc64nvme: wanted(&given.checksum_crc64nvme, crc64).then(s3s::crypto::Crc64Nvme::new),
        sha1: wanted(&given.checksum_sha1, sha1).then(s3s::crypto::Sha1::new),
        sha256: wanted(&given.checksum_sha256, sha256).then(s3s::crypto::Sha256::new),
    }
}

/// Puts together what a client said about a body, in headers before it and in trailers after it.
pub(super) fn expected(
    mut given: Checksum,
    trailers: Option<&TrailingHeaders>,
    content_md5: Option<&str>,
    length: Option<i64>,
) -> S3Result<Expected> {
    if let Some(trailers) = trailers.and_then(TrailingHeaders::take) {
        let fields = [
            ("x-amz-checksum-crc32", &mut given.checksum_crc32),
            ("x-amz-checksum-crc32c", &mut given.checksum_crc32c),
            ("x-amz-checksum-crc64nvme", &mut given.checksum_crc64nvme),
            ("x-amz-checksum-sha1", &mut given.checksum_sha1),
            ("x-amz-checksum-sha256", &mut given.checksum_sha256),
        ];
        for (name, field) in fields {
            if let Some(value) = trailers.get(name).and_then(|value| value.to_str().ok()) {
                *field = Some(value.to_owned());
            }
        }
    }
    Ok(Expected {
        length: length.and_then(|length| u64::try_from(length).ok()),
        md5: content_md5.map(parse_md5).transpose()?.flatten(),
        checksums: given,
    })
}

/// An empty header counts as none: Flyte's servers hand it out when no digest was declared.
fn parse_md5(text: &str) -> S3Result<Option<[u8; 16]>> {
    if text.is_empty() {
        return Ok(None);
    }
    let bytes = base64_simd::STANDARD.decode_to_vec(text).ok();
    match bytes.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()) {
        Some(md5) => Ok(Some(md5)),
        None => Err(S3Error::with_message(
            S3ErrorCode::InvalidDigest,
            "Content-MD5 must be 16 bytes in base64",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections() {
        let whole = Section::of(None, 10).unwrap();
        assert_eq!((whole.length(), whole.header()), (10, None));
        let tail = Section::of(Some(&Range::Suffix { length: 3 }), 10).unwrap();
        assert_eq!(tail.header().unwrap(), "bytes 7-9/10");
        let beyond = Range::Int {
            first: 10,
            last: None,
        };
        let error = Section::of(Some(&beyond), 10).err().unwrap();
        assert_eq!(error.code(), &S3ErrorCode::InvalidRange);
    }

    #[test]
    fn content_md5() {
        assert_eq!(parse_md5("").unwrap(), None);
        let empty = parse_md5("1B2M2Y8AsgTpgAmY7PhCfg==").unwrap().unwrap();
        assert_eq!(empty[..2], [0xd4, 0x1d]);
        for wrong in ["x", "AAAA", "1B2M2Y8AsgTpgAmY7PhCfg"] {
            let code = parse_md5(wrong).unwrap_err().code().clone();
            assert_eq!(code, S3ErrorCode::InvalidDigest, "{wrong}");
        }
    }

    #[test]
    fn the_way_of_travel_is_not_stored() {
        assert_eq!(stored_encoding("aws-chunked".into()), None);
        assert_eq!(
            stored_encoding("aws-chunked, gzip".into()),
            Some("gzip".into())
        );
        assert_eq!(stored_encoding("gzip".into()), Some("gzip".into()));
    }
}
