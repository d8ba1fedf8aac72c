//! S3-compatible endpoint over a local folder.
