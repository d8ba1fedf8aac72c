//! S3's operations on the folder: translate, and send the disk work where it may block.
//!
//! What is not here is answered with NotImplemented by the protocol crate, and so is an option that would change what
//! is stored and is not kept (encryption, tags, locks, versions).

mod buckets;
mod lists;
mod objects;
mod parts;

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use crate::body::blocking;
use crate::folder::Folder;

/// The largest number of keys, parts or uploads in one answer.
const PAGE_MAX: usize = 1000;

pub(crate) struct Operations {
    pub(crate) folder: Arc<Folder>,
    pub(crate) region: String,
}

impl Operations {
    /// Runs an operation that only needs the disk.
    async fn on_disk<I, O>(
        &self,
        request: S3Request<I>,
        work: impl FnOnce(&Folder, I) -> S3Result<O> + Send + 'static,
    ) -> S3Result<S3Response<O>>
    where
        I: Send + 'static,
        O: Send + 'static,
    {
        let folder = self.folder.clone();
        let output = blocking(move || work(&folder, request.input)).await?;
        Ok(S3Response::new(output))
    }
}

#[async_trait::async_trait]
impl S3 for Operations {
    async fn list_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        self.on_disk(request, buckets::list).await
    }

    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.on_disk(request, buckets::create).await
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let region = self.region.clone();
        self.on_disk(request, move |folder, input| {
            buckets::head(folder, input, region)
        })
        .await
    }

    async fn delete_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.on_disk(request, buckets::delete).await
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let region = self.region.clone();
        self.on_disk(request, move |folder, input| {
            buckets::location(folder, input, region)
        })
        .await
    }

    async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        self.on_disk(request, lists::objects).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.on_disk(request, lists::objects_v2).await
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.on_disk(request, objects::head).await
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        self.on_disk(request, objects::get).await
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let output = objects::put(&self.folder, request.input, request.trailing_headers).await?;
        Ok(S3Response::new(output))
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        self.on_disk(request, objects::copy).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.on_disk(request, objects::delete).await
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.on_disk(request, objects::delete_many).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.on_disk(request, parts::create).await
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let output = parts::upload(&self.folder, request.input, request.trailing_headers).await?;
        Ok(S3Response::new(output))
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        self.on_disk(request, parts::copy).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.on_disk(request, parts::complete).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.on_disk(request, parts::abort).await
    }

    async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        self.on_disk(request, parts::list).await
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        self.on_disk(request, lists::uploads).await
    }
}

/// Refuses what would be promised and not kept.
fn refuse(options: &[(bool, &str)]) -> S3Result<()> {
    match options.iter().find(|(present, _)| *present) {
        Some((_, name)) => Err(s3_error!(NotImplemented, "{name} is not supported here")),
        None => Ok(()),
    }
}

/// There is one version of everything, which S3 calls "null".
fn check_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("" | "null") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion)),
    }
}

fn page_limit(asked: Option<i32>) -> S3Result<usize> {
    let asked = asked.map_or(Ok(PAGE_MAX), usize::try_from);
    let asked = asked.map_err(|error| s3_error!(error, InvalidArgument))?;
    Ok(asked.min(PAGE_MAX))
}
