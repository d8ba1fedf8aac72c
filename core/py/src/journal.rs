//! `Journal`: bytes in, durable bytes back.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use flyte_kernel_journal::{Journal, JournalError, Replay};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::detached::detached;
use crate::errors::kernel_error;
use crate::numbers::Size;

fn from_journal(error: JournalError) -> PyErr {
    let class = match &error {
        JournalError::Locked { .. } => "FolderLockedError",
        JournalError::Corrupt { .. } | JournalError::Version { .. } => "CorruptRecordError",
        JournalError::Full { .. } => "StorageFullError",
        JournalError::Argument(_) => "GraphError",
        JournalError::Io { .. } | JournalError::Poisoned { .. } | JournalError::Closed => {
            "StorageError"
        }
    };
    kernel_error(class, error.to_string())
}

#[pyclass(frozen, name = "Journal", module = "flyte_kernel")]
pub(crate) struct PyJournal {
    journal: Mutex<Option<Journal>>,
}

impl PyJournal {
    fn open_one<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Journal) -> Result<T, JournalError> + Send,
    ) -> PyResult<T> {
        detached(py, || {
            let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
            work(journal.as_mut().ok_or(JournalError::Closed)?)
        })?
        .map_err(from_journal)
    }
}

#[pymethods]
impl PyJournal {
    #[staticmethod]
    #[pyo3(signature = (folder, *, segment_bytes=Size(67_108_864)), text_signature = "(folder, *, segment_bytes=67108864)")]
    fn open(py: Python<'_>, folder: PathBuf, segment_bytes: Size) -> PyResult<Self> {
        let segment_bytes = segment_bytes.0 as u64;
        let journal =
            detached(py, || Journal::open(&folder, segment_bytes))?.map_err(from_journal)?;
        Ok(PyJournal {
            journal: Mutex::new(Some(journal)),
        })
    }

    #[getter]
    fn last_sequence(&self, py: Python<'_>) -> PyResult<u64> {
        self.open_one(py, |journal| Ok(journal.last_sequence()))
    }

    fn append(&self, py: Python<'_>, payload: &[u8]) -> PyResult<u64> {
        self.open_one(py, |journal| journal.append(payload))
    }

    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        self.open_one(py, Journal::commit)
    }

    fn rollback(&self, py: Python<'_>) -> PyResult<()> {
        self.open_one(py, Journal::rollback)
    }

    fn replay(&self, py: Python<'_>, after: u64) -> PyResult<PyReplay> {
        let replay = self.open_one(py, |journal| journal.replay(after))?;
        Ok(PyReplay {
            replay: Mutex::new(replay),
        })
    }

    fn write_snapshot(&self, py: Python<'_>, sequence: u64, payload: &[u8]) -> PyResult<()> {
        self.open_one(py, |journal| journal.write_snapshot(sequence, payload))
    }

    fn load_snapshot<'py>(&self, py: Python<'py>) -> PyResult<Option<(u64, Bound<'py, PyBytes>)>> {
        let found = self.open_one(py, |journal| journal.load_snapshot())?;
        Ok(found.map(|(sequence, payload)| (sequence, PyBytes::new(py, &payload))))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || {
            self.journal
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
        })
    }
}

#[pyclass(frozen, name = "JournalReplay", module = "flyte_kernel._core")]
pub(crate) struct PyReplay {
    replay: Mutex<Replay>,
}

#[pymethods]
impl PyReplay {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<(u64, Bound<'py, PyBytes>)>> {
        let next = detached(py, || {
            self.replay
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .next()
        })?;
        let block = next.transpose().map_err(from_journal)?;
        Ok(block.map(|(sequence, payload)| (sequence, PyBytes::new(py, &payload))))
    }
}
