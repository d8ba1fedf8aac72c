//! Single numbers that come from Python: what does not fit is the caller's mistake and named, never a bare overflow.

use pyo3::exceptions::PyOverflowError;
use pyo3::{Borrowed, FromPyObject, PyAny, PyErr, PyResult};

use crate::errors::kernel_error;

/// How many of something.
pub(crate) struct Count(pub u32);
/// How many bytes or rows.
pub(crate) struct Size(pub usize);
/// Nanoseconds.
pub(crate) struct Time(pub i64);
/// How many nodes a graph has.
pub(crate) struct NodeCount(pub u32);
/// The index of a node.
pub(crate) struct NodeIndex(pub u32);
/// The index of a run.
pub(crate) struct RunIndex(pub u32);
/// The index of a graph.
pub(crate) struct GraphIndex(pub u32);

/// The number, or the error that `refuse` makes of one that does not fit.
fn fitting<'py, T>(
    object: Borrowed<'_, 'py, PyAny>,
    refuse: impl FnOnce(String) -> PyErr,
) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    object.extract::<T>().map_err(|error| {
        let error: PyErr = error.into();
        if error.is_instance_of::<PyOverflowError>(object.py()) {
            refuse(object.to_string())
        } else {
            error
        }
    })
}

macro_rules! number {
    ($name:ident, $inner:ty, $class:literal, $text:literal) => {
        impl<'py> FromPyObject<'_, 'py> for $name {
            type Error = PyErr;

            fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
                fitting::<$inner>(object, |value| {
                    kernel_error($class, format!($text, value = value))
                })
                .map($name)
            }
        }
    };
}

number!(
    Count,
    u32,
    "InvalidArgumentError",
    "expected a whole number from 0 to 4294967295, not {value}"
);
number!(
    Size,
    usize,
    "InvalidArgumentError",
    "expected a whole number from 0 on, not {value}"
);
number!(
    Time,
    i64,
    "InvalidArgumentError",
    "expected a time in nanoseconds that fits 64 bits, not {value}"
);
number!(
    NodeIndex,
    u32,
    "UnknownNodeError",
    "there is no node {value}"
);
number!(RunIndex, u32, "UnknownNodeError", "there is no run {value}");
number!(
    GraphIndex,
    u32,
    "UnknownNodeError",
    "there is no graph {value}"
);
number!(
    NodeCount,
    u32,
    "GraphError",
    "node_count must be from 0 to 4294967293, not {value}"
);
