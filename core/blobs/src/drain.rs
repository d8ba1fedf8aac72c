//! Bodies of refused requests: read to their end, so that the client gets to the answer and keeps its connection.
//!
//! A connection that is closed over unread bytes is reset, and the client sees that instead of the answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// What more is sent is not waited for (both are guesses).
const DRAIN_BYTES_MAX: usize = 64 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// A body that can be read on after its reader was dropped.
#[derive(Clone)]
pub(crate) struct SharedBody(Arc<Mutex<Incoming>>);

impl SharedBody {
    pub(crate) fn new(body: Incoming) -> SharedBody {
        SharedBody(Arc::new(Mutex::new(body)))
    }

    fn lock(&self) -> MutexGuard<'_, Incoming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is left; says whether that was all.
    pub(crate) async fn drain(mut self) -> bool {
        let reading = async {
            let mut size = 0;
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
                let Ok(frame) = frame else { return false };
                size += frame.data_ref().map_or(0, Bytes::len);
                if size > DRAIN_BYTES_MAX {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(DRAIN_TIME, reading)
            .await
            .unwrap_or(false)
    }
}

impl Body for SharedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut *self.lock()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().size_hint()
    }
}
