//! Buckets are the folders below the root.

use s3s::dto::*;
use s3s::{S3Result, s3_error};

use crate::folder::Folder;
use crate::listing::{Query, page};
use crate::multipart;

pub(super) fn list(folder: &Folder, _: ListBucketsInput) -> S3Result<ListBucketsOutput> {
    let bucket = |(name, created): (String, std::time::SystemTime)| Bucket {
        name: Some(name),
        creation_date: Some(created.into()),
        ..Default::default()
    };
    Ok(ListBucketsOutput {
        buckets: Some(folder.buckets()?.into_iter().map(bucket).collect()),
        ..Default::default()
    })
}

pub(super) fn create(folder: &Folder, input: CreateBucketInput) -> S3Result<CreateBucketOutput> {
    folder.create_bucket(&input.bucket)?;
    Ok(CreateBucketOutput {
        location: Some(format!("/{}", input.bucket)),
    })
}

pub(super) fn head(
    folder: &Folder,
    input: HeadBucketInput,
    region: String,
) -> S3Result<HeadBucketOutput> {
    folder.bucket(&input.bucket)?;
    Ok(HeadBucketOutput {
        bucket_region: Some(region),
        ..Default::default()
    })
}

pub(super) fn location(
    folder: &Folder,
    input: GetBucketLocationInput,
    region: String,
) -> S3Result<GetBucketLocationOutput> {
    folder.bucket(&input.bucket)?;
    // The oldest region has no name in this answer.
    let named = Some(region).filter(|region| region != "us-east-1");
    Ok(GetBucketLocationOutput {
        location_constraint: named.map(BucketLocationConstraint::from),
    })
}

pub(super) fn delete(folder: &Folder, input: DeleteBucketInput) -> S3Result<DeleteBucketOutput> {
    let bucket = folder.bucket(&input.bucket)?;
    let any = Query {
        prefix: "",
        delimiter: "",
        after: "",
        limit: 1,
    };
    if !page(&bucket, &any)?.objects.is_empty() {
        return Err(s3_error!(BucketNotEmpty));
    }
    for upload in multipart::list(folder, &input.bucket)? {
        upload.abort(folder)?;
    }
    folder.remove_bucket(bucket)?;
    Ok(DeleteBucketOutput::default())
}
