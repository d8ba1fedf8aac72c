//! `BlobServer`: an endpoint on threads of its own, which never touch Python.

use std::path::PathBuf;

use flyte_kernel_blobs::{Config, Server, StartError};
use pyo3::prelude::*;

use crate::detached::detached;
use crate::errors::{adapter_error, kernel_error};

#[pyclass(frozen, name = "BlobServer", module = "flyte_kernel")]
pub(crate) struct PyBlobServer {
    server: Server,
}

#[pymethods]
impl PyBlobServer {
    #[staticmethod]
    #[pyo3(signature = (root, host, port, access_key, secret_key, *, region="us-east-1", buckets=Vec::new(), sync=false))]
    #[expect(clippy::too_many_arguments, reason = "one argument a setting")]
    fn start(
        py: Python<'_>,
        root: PathBuf,
        host: String,
        port: u16,
        access_key: String,
        secret_key: String,
        region: &str,
        buckets: Vec<String>,
        sync: bool,
    ) -> PyResult<Self> {
        let config = Config {
            root,
            host,
            port,
            access_key,
            secret_key,
            region: region.to_owned(),
            buckets,
            sync,
        };
        let server = detached(py, || Server::start(config))?.map_err(from_start)?;
        Ok(PyBlobServer { server })
    }

    #[getter]
    fn address(&self) -> (String, u16) {
        let address = self.server.address();
        (address.ip().to_string(), address.port())
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.server.close())
    }

    fn __repr__(&self) -> String {
        format!("BlobServer({})", self.server.address())
    }
}

fn from_start(error: StartError) -> PyErr {
    let message = error.to_string();
    match error {
        StartError::BadFolder(..) => kernel_error("StorageError", message),
        StartError::BadBucket(_) => kernel_error("InvalidArgumentError", message),
        StartError::BadAddress(..) | StartError::CannotListen(..) => adapter_error(message, false),
        StartError::NoThreads(_) => adapter_error(message, true),
    }
}
