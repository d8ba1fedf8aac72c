//! What the filesystem says, as S3 error codes.

use std::io;
use std::net::SocketAddr;

use hyper::StatusCode;
use s3s::{S3Error, S3ErrorCode, s3_error};

/// Why the endpoint cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0:?} is not an address to listen on: {1}")]
    BadAddress(String, io::Error),
    #[error("cannot listen for HTTP on {0}: {1}")]
    CannotListen(SocketAddr, io::Error),
    #[error("the blob folder {0} cannot be used: {1}")]
    BadFolder(String, io::Error),
    #[error("{0:?} is not a bucket name: 3 to 63 lower-case letters, digits, dots and hyphens")]
    BadBucket(String),
    #[error("threads cannot be started: {0}")]
    NoThreads(io::Error),
}

/// The answer to an unexpected error of the filesystem.
pub(crate) fn from_io(error: io::Error) -> S3Error {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => storage_full(error),
        Some(libc::EFBIG) => {
            s3_error!(
                error,
                EntityTooLarge,
                "the file would be larger than allowed here"
            )
        }
        Some(libc::ENAMETOOLONG) => s3_error!(error, KeyTooLongError),
        Some(libc::ENOTDIR | libc::EEXIST | libc::EISDIR) => taken(),
        _ if error.kind() == io::ErrorKind::PermissionDenied => s3_error!(
            error,
            AccessDenied,
            "the path cannot be used: it leaves the bucket through a link, or the file's permissions forbid it"
        ),
        _ => {
            let message = format!("the blob folder failed: {error}");
            S3Error::with_message(S3ErrorCode::InternalError, message)
        }
    }
}

/// No standard code says this; 507 is not repeated by the SDKs, which would not help.
fn storage_full(error: io::Error) -> S3Error {
    let message = "no space is left on the server's disk; nothing was stored";
    let mut answer = S3Error::with_message(
        S3ErrorCode::Custom("StorageFull".to_owned().into()),
        message,
    );
    answer.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
    answer.set_source(Box::new(error));
    answer
}

/// A file cannot be a folder: of the keys "a" and "a/b" only one can exist.
pub(crate) fn taken() -> S3Error {
    let mut error = s3_error!(
        InvalidRequest,
        "an object and a folder cannot have one name here: a part of this key is an object, or the key is a folder"
    );
    error.set_status_code(StatusCode::CONFLICT);
    error
}

/// Whether the error says that there is no file of this name; a file in the place of a folder says so too.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ENOTDIR | libc::EISDIR | libc::ENAMETOOLONG)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32) -> (S3ErrorCode, Option<StatusCode>) {
        let error = from_io(io::Error::from_raw_os_error(code));
        (error.code().clone(), error.status_code())
    }

    #[test]
    fn a_full_disk_is_not_worth_a_retry() {
        for code in [libc::ENOSPC, libc::EDQUOT] {
            let (code, status) = answer(code);
            assert_eq!(code.as_str(), "StorageFull");
            assert_eq!(status, Some(StatusCode::INSUFFICIENT_STORAGE));
        }
    }

    #[test]
    fn other_errors() {
        assert_eq!(answer(libc::EACCES).0, S3ErrorCode::AccessDenied);
        assert_eq!(answer(libc::EFBIG).0, S3ErrorCode::EntityTooLarge);
        assert_eq!(answer(libc::ENAMETOOLONG).0, S3ErrorCode::KeyTooLongError);
        assert_eq!(
            answer(libc::EISDIR),
            (S3ErrorCode::InvalidRequest, Some(StatusCode::CONFLICT))
        );
        assert_eq!(answer(libc::EIO).0, S3ErrorCode::InternalError);
    }
}
