//! NumPy arrays in, as typed slices, and out, as read-only views of memory that a Rust object owns.

use numpy::{Element, PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::errors::kernel_error;

/// Takes a one-dimensional, contiguous array of exactly this dtype; the error names the argument.
pub(crate) fn column<'py, T: Element>(
    name: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<PyReadonlyArray1<'py, T>> {
    let array = value.cast::<PyArray1<T>>().map_err(|_| {
        let wanted = T::get_dtype(value.py());
        let message = format!(
            "{name} must be a 1-d array of {wanted}, not {}",
            describe(value)
        );
        kernel_error("GraphError", message)
    })?;
    let readonly = array
        .try_readonly()
        .map_err(|error| kernel_error("GraphError", format!("{name}: {error}")))?;
    if readonly.as_slice().is_err() {
        let message = format!("{name} must be contiguous (numpy.ascontiguousarray)");
        return Err(kernel_error("GraphError", message));
    }
    Ok(readonly)
}

fn describe(value: &Bound<'_, PyAny>) -> String {
    let text = |name| value.getattr(name).and_then(|found| found.str());
    match (text("dtype"), text("shape")) {
        (Ok(dtype), Ok(shape)) => format!("an array of {dtype} and shape {shape}"),
        _ => format!("a {}", value.get_type()),
    }
}

/// Takes a column that may be left out.
pub(crate) fn optional_column<'py, T: Element>(
    name: &str,
    value: Option<&Bound<'py, PyAny>>,
) -> PyResult<Option<PyReadonlyArray1<'py, T>>> {
    value.map(|value| column(name, value)).transpose()
}

/// Shows a slice that `owner` keeps alive and never changes.
#[expect(unsafe_code, reason = "NumPy borrows memory that a frozen class owns")]
pub(crate) fn view<'py, T: Element>(
    owner: Bound<'py, PyAny>,
    slice: &[T],
) -> Bound<'py, PyArray1<T>> {
    let borrowed = numpy::ndarray::ArrayView1::from(slice);
    // SAFETY: the callers' classes are frozen, so the slice neither moves nor changes while `owner`, which the array
    // holds as its base, is alive; the array is made read-only before anybody sees it.
    let array = unsafe { PyArray1::borrow_from_array(&borrowed, owner) };
    array.readwrite().make_nonwriteable();
    array
}
