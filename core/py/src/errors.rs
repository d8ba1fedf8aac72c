//! Rust errors become the classes of `flyte_kernel.errors`: one place, one table.

use flyte_kernel_core::CoreError;
use pyo3::prelude::*;
use pyo3::types::IntoPyDict;

/// Builds an exception of a class of `flyte_kernel.errors` by name.
pub(crate) fn kernel_error(class: &str, message: String) -> PyErr {
    Python::attach(|py| {
        let made = py
            .import("flyte_kernel.errors")
            .and_then(|module| module.getattr(class))
            .and_then(|class| class.call1((message,)));
        match made {
            Ok(instance) => PyErr::from_value(instance),
            Err(error) => error,
        }
    })
}

/// Builds an AdapterError, which says whether trying again can help.
pub(crate) fn adapter_error(message: String, retryable: bool) -> PyErr {
    Python::attach(|py| {
        let made = py
            .import("flyte_kernel.errors")
            .and_then(|module| module.getattr("AdapterError"))
            .and_then(|class| {
                let keywords = [("retryable", retryable)].into_py_dict(py)?;
                class.call((message,), Some(&keywords))
            });
        match made {
            Ok(instance) => PyErr::from_value(instance),
            Err(error) => error,
        }
    })
}

/// The class of each error of the core.
pub(crate) fn from_core(error: CoreError) -> PyErr {
    let class = match &error {
        CoreError::Cycle(_) => "CycleError",
        CoreError::UnknownRun(_)
        | CoreError::UnknownNode { .. }
        | CoreError::NoMap { .. }
        | CoreError::UnknownGraph(_) => "UnknownNodeError",
        CoreError::RunNotEnded(_)
        | CoreError::NotReady { .. }
        | CoreError::MovesByItself { .. }
        | CoreError::NotCalledOff { .. } => "StateError",
        CoreError::BadSnapshot(_) => "CorruptRecordError",
        CoreError::Invariant(_) => "InternalError",
        _ => "GraphError",
    };
    kernel_error(class, error.to_string())
}
