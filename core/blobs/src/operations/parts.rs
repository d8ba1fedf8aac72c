//! Objects that come in parts.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Result, TrailingHeaders, s3_error};

use super::objects::{Section, expected, find_source, hasher, stage_copy};
use super::{page_limit, refuse};
use crate::body::{blocking, receive};
use crate::conditions::{ReadConditions, WriteConditions};
use crate::folder::Folder;
use crate::keys::Key;
use crate::multipart;
use crate::record::{Headers, strong};

pub(super) fn create(
    folder: &Folder,
    input: CreateMultipartUploadInput,
) -> S3Result<CreateMultipartUploadOutput> {
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
    ])?;
    let key = Key::parse(&input.key)?;
    let bucket = folder.bucket(&input.bucket)?;
    let headers = Headers {
        content_type: input.content_type,
        cache_control: input.cache_control,
        content_disposition: input.content_disposition,
        content_encoding: input.content_encoding,
        content_language: input.content_language,
        user: input.metadata.into_iter().flatten().collect(),
    };
    let id = multipart::create(folder, &bucket, &key, headers)?;
    Ok(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        ..Default::default()
    })
}

pub(super) async fn upload(
    folder: &Arc<Folder>,
    mut input: UploadPartInput,
    trailers: Option<TrailingHeaders>,
) -> S3Result<UploadPartOutput> {
    multipart::check_part_number(input.part_number)?;
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
        let upload = multipart::find(&folder, &input.bucket, &key, &input.upload_id)?;
        let sealed = received.seal(&folder, &expected)?;
        let sums = sealed.checksums.clone();
        let etag = upload.put_part(&folder, input.part_number, sealed)?;
        Ok(UploadPartOutput {
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

pub(super) fn copy(folder: &Folder, input: UploadPartCopyInput) -> S3Result<UploadPartCopyOutput> {
    multipart::check_part_number(input.part_number)?;
    let key = Key::parse(&input.key)?;
    let upload = multipart::find(folder, &input.bucket, &key, &input.upload_id)?;
    let conditions = ReadConditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    let source = find_source(folder, &input.copy_source, &conditions)?;
    let range = input.copy_source_range.as_deref().map(Range::parse);
    let range = range
        .transpose()
        .map_err(|error| s3_error!(error, InvalidArgument))?;
    let section = Section::of(range.as_ref(), source.description.size)?;
    let sealed = stage_copy(folder, source, &section)?;
    let modified = sealed.metadata.modified().map_err(crate::error::from_io)?;
    let etag = upload.put_part(folder, input.part_number, sealed)?;
    Ok(UploadPartCopyOutput {
        copy_part_result: Some(CopyPartResult {
            e_tag: Some(strong(&etag)),
            last_modified: Some(modified.into()),
            ..Default::default()
        }),
        ..Default::default()
    })
}

pub(super) fn complete(
    folder: &Folder,
    input: CompleteMultipartUploadInput,
) -> S3Result<CompleteMultipartUploadOutput> {
    let key = Key::parse(&input.key)?;
    let bucket = folder.bucket(&input.bucket)?;
    let upload = multipart::find(folder, &input.bucket, &key, &input.upload_id)?;
    let parts = input.multipart_upload.and_then(|upload| upload.parts);
    let mut wanted = Vec::new();
    for part in parts.into_iter().flatten() {
        let (Some(number), Some(etag)) = (part.part_number, part.e_tag) else {
            return Err(s3_error!(MalformedXML, "a part needs PartNumber and ETag"));
        };
        wanted.push((number, etag.into_value()));
    }
    let conditions = WriteConditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
    };
    let etag = upload.complete(folder, &bucket, &key, &wanted, &conditions)?;
    Ok(CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(strong(&etag)),
        ..Default::default()
    })
}

pub(super) fn abort(
    folder: &Folder,
    input: AbortMultipartUploadInput,
) -> S3Result<AbortMultipartUploadOutput> {
    let key = Key::parse(&input.key)?;
    multipart::find(folder, &input.bucket, &key, &input.upload_id)?.abort(folder)?;
    Ok(AbortMultipartUploadOutput::default())
}

pub(super) fn list(folder: &Folder, input: ListPartsInput) -> S3Result<ListPartsOutput> {
    let key = Key::parse(&input.key)?;
    let upload = multipart::find(folder, &input.bucket, &key, &input.upload_id)?;
    let limit = page_limit(input.max_parts)?;
    let marker = input.part_number_marker.unwrap_or(0);
    let mut parts = upload.parts()?;
    parts.retain(|part| part.number > marker);
    let is_truncated = parts.len() > limit;
    parts.truncate(limit);
    let next = parts
        .last()
        .map(|part| part.number)
        .filter(|_| is_truncated);
    let shown = parts.into_iter().map(|part| Part {
        part_number: Some(part.number),
        e_tag: Some(strong(&part.etag)),
        size: Some(part.size as i64),
        last_modified: Some(part.modified.into()),
        ..Default::default()
    });
    Ok(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        is_truncated: Some(is_truncated),
        max_parts: Some(limit as i32),
        part_number_marker: Some(marker),
        next_part_number_marker: next,
        parts: Some(shown.collect()),
        ..Default::default()
    })
}
