//! Bodies in and out: the network side waits without a thread, the disk side runs on blocking threads.

use std::fs::File;
use std::future::Future as _;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use s3s::checksum::ChecksumHasher;
use s3s::dto::StreamingBlob;
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, s3_error};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::error::from_io;
use crate::folder::Folder;
use crate::staging::{Expected, Sealed, Staged};

/// How much of a body waits in memory for the disk; a smaller body takes one visit to a blocking thread.
const PENDING_BYTES_MAX: usize = 1 << 20;

/// How much of a file is read at once.
const READ_BYTES: u64 = 256 << 10;

/// Runs disk work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> S3Result<T> + Send + 'static,
) -> S3Result<T> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(S3Error::internal_error(error)),
    }
}

/// A body whose last bytes may still be in memory.
pub(crate) struct Received {
    staged: Option<Staged>,
    hasher: ChecksumHasher,
    pending: Vec<Bytes>,
}

impl Received {
    /// Writes what is left and compares the whole with what was said about it.
    pub(crate) fn seal(self, folder: &Folder, expected: &Expected) -> S3Result<Sealed> {
        let staged = match self.staged {
            Some(staged) => staged,
            None => folder.stage(self.hasher).map_err(from_io)?,
        };
        write_all(staged, &self.pending)
            .map_err(from_io)?
            .seal(expected)
    }
}

/// Takes a body to its end.
pub(crate) async fn receive(
    folder: &Arc<Folder>,
    body: Option<StreamingBlob>,
    hasher: ChecksumHasher,
) -> S3Result<Received> {
    let mut received = Received {
        staged: None,
        hasher,
        pending: Vec::new(),
    };
    let Some(mut body) = body else {
        return Ok(received);
    };
    let mut size = 0;
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(broken_body)?;
        size += bytes.len();
        received.pending.push(bytes);
        if size >= PENDING_BYTES_MAX {
            received = spill(folder.clone(), received).await?;
            size = 0;
        }
    }
    Ok(received)
}

async fn spill(folder: Arc<Folder>, mut received: Received) -> S3Result<Received> {
    blocking(move || {
        let staged = match received.staged.take() {
            Some(staged) => staged,
            None => folder
                .stage(std::mem::take(&mut received.hasher))
                .map_err(from_io)?,
        };
        received.staged = Some(write_all(staged, &received.pending).map_err(from_io)?);
        received.pending.clear();
        Ok(received)
    })
    .await
}

fn write_all(mut staged: Staged, pending: &[Bytes]) -> io::Result<Staged> {
    for bytes in pending {
        staged.write(bytes)?;
    }
    Ok(staged)
}

/// The error types of the protocol crate's body checks are private; their texts are all there is to tell them apart.
fn broken_body(error: StdError) -> S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        let code = S3ErrorCode::Custom("XAmzContentSHA256Mismatch".to_owned().into());
        let message = "the x-amz-content-sha256 that was given does not fit the content";
        let mut answer = S3Error::with_message(code, message);
        answer.set_status_code(hyper::StatusCode::BAD_REQUEST);
        answer
    } else if text.contains("SignatureMismatch") {
        s3_error!(SignatureDoesNotMatch, "the signature of a chunk is wrong")
    } else {
        let message = format!("the body ended early or is malformed: {text}");
        S3Error::with_message(S3ErrorCode::IncompleteBody, message)
    }
}

/// A part of a file on its way to a client.
pub(crate) struct FileStream {
    file: Arc<File>,
    offset: u64,
    end: u64,
    ready: Option<Bytes>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileStream {
    /// Reads the first piece at once: most objects are one piece. To be called where it may block.
    pub(crate) fn open(file: File, offset: u64, end: u64) -> io::Result<FileStream> {
        let first = read_piece(&file, offset, end)?;
        Ok(FileStream {
            file: Arc::new(file),
            offset: offset + first.len() as u64,
            end,
            ready: Some(first).filter(|bytes| !bytes.is_empty()),
            reading: None,
        })
    }
}

fn read_piece(file: &File, offset: u64, end: u64) -> io::Result<Bytes> {
    let length = (end - offset).min(READ_BYTES);
    let mut buffer = vec![0; length as usize];
    file.read_exact_at(&mut buffer, offset)?;
    Ok(buffer.into())
}

impl Stream for FileStream {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(bytes) = self.ready.take() {
            return Poll::Ready(Some(Ok(bytes)));
        }
        if self.offset >= self.end {
            return Poll::Ready(None);
        }
        let (file, offset, end) = (self.file.clone(), self.offset, self.end);
        let reading = self
            .reading
            .get_or_insert_with(|| spawn_blocking(move || read_piece(&file, offset, end)));
        let Poll::Ready(outcome) = Pin::new(reading).poll(cx) else {
            return Poll::Pending;
        };
        self.reading = None;
        let piece = outcome.map_err(io::Error::other).and_then(|piece| piece);
        match piece {
            Ok(bytes) => {
                self.offset += bytes.len() as u64;
                Poll::Ready(Some(Ok(bytes)))
            }
            Err(error) => {
                self.offset = self.end;
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }
}

impl ByteStream for FileStream {
    fn remaining_length(&self) -> RemainingLength {
        let ready = self.ready.as_ref().map_or(0, Bytes::len);
        RemainingLength::new_exact(ready + (self.end - self.offset) as usize)
    }
}
