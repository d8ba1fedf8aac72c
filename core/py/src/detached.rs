//! The one door for long work: the GIL is released while it runs, and a panic comes back as our bug, not as the end of
//! the host process.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;

use crate::errors::kernel_error;

/// Runs `work` without the GIL; a panic becomes InternalError.
pub(crate) fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    py.detach(|| catch_unwind(AssertUnwindSafe(work)))
        .map_err(|panic| {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "without a message".to_owned());
            kernel_error(
                "InternalError",
                format!("the core panicked, please report this: {text}"),
            )
        })
}
