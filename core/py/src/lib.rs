//! The compiled module `flyte_kernel._core`: what crosses into Python, and how.
//!
//! One file per subject. Nothing here decides anything: arrays and bytes go in, arrays and bytes come out, errors are
//! mapped in `errors.rs`, and long work runs through the one door in `detached.rs`, which releases the GIL.

mod arrays;
mod blobs;
mod detached;
mod errors;
mod graph;
mod journal;
mod kernel;
mod numbers;
mod run;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _core {
    use super::*;

    #[pymodule_export]
    use crate::blobs::PyBlobServer;
    #[pymodule_export]
    use crate::graph::PyGraph;
    #[pymodule_export]
    use crate::journal::{PyJournal, PyReplay};
    #[pymodule_export]
    use crate::kernel::{PyKernel, PyTurn};
    #[pymodule_export]
    use crate::run::PyRun;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        Ok(())
    }
}
