//! The one door for long work: the GIL is released while it runs.

use pyo3::prelude::*;

/// Runs `work` without the GIL.
pub(crate) fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    py.detach(work)
}
