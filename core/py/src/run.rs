//! `Run`: one run driven by what is ready, one node or many at a call.

use std::sync::Mutex;

use flyte_kernel_core::{CoreError, Driver, EventKind, FailureClass};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyBytes, PyInt};

use crate::arrays::{column, optional_column, view};
use crate::detached::detached;
use crate::errors::{from_core, kernel_error};
use crate::graph::PyGraph;
use crate::numbers::{Count, NodeIndex, Size, Time};

/// Below this many nodes a call does not let go of the GIL: that would cost more than the work.
const FEW_NODES: usize = 64;

#[pyclass(frozen, name = "Run", module = "flyte_kernel")]
pub(crate) struct PyRun {
    driver: Mutex<Driver>,
    graph: Py<PyGraph>,
    max_parallelism: u32,
}

/// Nodes that NumPy looks at and nobody changes any more.
#[pyclass(frozen, name = "Frontier", module = "flyte_kernel")]
pub(crate) struct PyFrontier {
    nodes: Vec<u32>,
}

fn shown(py: Python<'_>, nodes: Vec<u32>) -> PyResult<Bound<'_, PyArray1<u32>>> {
    let owner = Bound::new(py, PyFrontier { nodes })?;
    let slice = owner.get().nodes.as_slice();
    Ok(view(owner.clone().into_any(), slice))
}

/// One node or an array of them.
enum Nodes<'py> {
    One([u32; 1]),
    Many(PyReadonlyArray1<'py, u32>),
}

impl<'py> Nodes<'py> {
    #[inline]
    fn of(value: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(number) = value.cast::<PyInt>() {
            let node = number.extract::<u32>().map_err(|_| {
                kernel_error("UnknownNodeError", format!("there is no node {number}"))
            })?;
            return Ok(Nodes::One([node]));
        }
        if let Ok(node) = value.extract::<u32>() {
            return Ok(Nodes::One([node]));
        }
        Ok(Nodes::Many(column::<u32>("nodes", value)?))
    }

    #[inline]
    fn as_slice(&self) -> &[u32] {
        match self {
            Nodes::One(node) => node,
            Nodes::Many(array) => array.as_slice().unwrap_or_default(),
        }
    }
}

impl PyRun {
    fn locked<T: Send>(
        &self,
        py: Python<'_>,
        few: bool,
        work: impl FnOnce(&mut Driver) -> Result<T, CoreError> + Send,
    ) -> PyResult<T> {
        if few && let Ok(mut driver) = self.driver.try_lock() {
            return work(&mut driver).map_err(from_core);
        }
        detached(py, || {
            self.driver.lock().ok().map(|mut driver| work(&mut driver))
        })?
        .ok_or_else(broken)?
        .map_err(from_core)
    }

    fn tell(&self, nodes: &Bound<'_, PyAny>, kind: EventKind, argument: i64) -> PyResult<()> {
        let py = nodes.py();
        let nodes = Nodes::of(nodes)?;
        let slice = nodes.as_slice();
        self.locked(py, slice.len() < FEW_NODES, |driver| {
            driver.tell(kind, slice, argument)
        })
    }
}

/// What a pickle of a run holds: snapshot, parallelism, priorities.
type Kept<'py> = (Bound<'py, PyBytes>, u32, Option<Bound<'py, PyArray1<i64>>>);

fn broken() -> PyErr {
    kernel_error(
        "InternalError",
        "the core panicked before and this run can no longer be trusted".to_owned(),
    )
}

#[pymethods]
impl PyRun {
    #[new]
    #[pyo3(signature = (graph, *, max_parallelism=Count(0), fails_late=false, system_attempts_extra=Count(3), priority=None, now=Time(0)), text_signature = "(graph, *, max_parallelism=0, fails_late=False, system_attempts_extra=3, priority=None, now=0)")]
    fn new(
        graph: &Bound<'_, PyGraph>,
        max_parallelism: Count,
        fails_late: bool,
        system_attempts_extra: Count,
        priority: Option<&Bound<'_, PyAny>>,
        now: Time,
    ) -> PyResult<Self> {
        let max_parallelism = max_parallelism.0;
        let system_attempts_extra = system_attempts_extra.0;
        let now = now.0;
        let shape = graph.get().graph.clone();
        let priority = priorities(priority)?;
        let driver = detached(graph.py(), || {
            Driver::new(
                shape,
                max_parallelism,
                fails_late,
                system_attempts_extra,
                priority,
                now,
            )
        })?
        .map_err(from_core)?;
        Ok(PyRun {
            driver: Mutex::new(driver),
            graph: graph.clone().unbind(),
            max_parallelism,
        })
    }

    #[getter]
    fn graph(&self, py: Python<'_>) -> Py<PyGraph> {
        self.graph.clone_ref(py)
    }

    #[getter]
    fn phase(&self, py: Python<'_>) -> PyResult<u8> {
        self.locked(py, true, |driver| Ok(driver.run_phase() as u8))
    }

    #[getter]
    fn is_done(&self, py: Python<'_>) -> PyResult<bool> {
        self.locked(py, true, |driver| Ok(driver.run_phase().is_terminal()))
    }

    #[getter]
    fn ready_count(&self, py: Python<'_>) -> PyResult<usize> {
        self.locked(py, true, |driver| Ok(driver.ready_count()))
    }

    fn ready<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u32>>> {
        shown(py, self.locked(py, true, |driver| Ok(driver.ready()))?)
    }

    #[pyo3(signature = (limit=None))]
    fn take<'py>(
        &self,
        py: Python<'py>,
        limit: Option<Size>,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let limit = limit.map(|number| number.0);
        let limit = limit.unwrap_or(usize::MAX);
        let few = limit < FEW_NODES;
        shown(py, self.locked(py, few, |driver| driver.take(limit))?)
    }

    fn take_one(&self, py: Python<'_>) -> PyResult<Option<u32>> {
        self.locked(py, true, Driver::take_one)
    }

    fn succeed_and_take(&self, py: Python<'_>, node: NodeIndex) -> PyResult<Option<u32>> {
        self.locked(py, true, |driver| {
            driver.tell(EventKind::AttemptSucceeded, &[node.0], 0)?;
            driver.take_one()
        })
    }

    fn start(&self, nodes: &Bound<'_, PyAny>) -> PyResult<()> {
        self.tell(nodes, EventKind::AttemptStarted, 0)
    }

    fn succeed(&self, nodes: &Bound<'_, PyAny>) -> PyResult<()> {
        self.tell(nodes, EventKind::AttemptSucceeded, 0)
    }

    fn skip(&self, nodes: &Bound<'_, PyAny>) -> PyResult<()> {
        self.tell(nodes, EventKind::AttemptSucceeded, 2)
    }

    #[pyo3(signature = (nodes, *, recoverable=true))]
    fn fail(&self, nodes: &Bound<'_, PyAny>, recoverable: bool) -> PyResult<()> {
        let class = if recoverable {
            FailureClass::UserRecoverable
        } else {
            FailureClass::Permanent
        };
        self.tell(nodes, EventKind::AttemptFailed, class as i64)
    }

    fn gone(&self, nodes: &Bound<'_, PyAny>) -> PyResult<()> {
        self.tell(nodes, EventKind::AttemptAborted, 0)
    }

    fn cancelled<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u32>>> {
        shown(
            py,
            self.locked(py, true, |driver| Ok(driver.cancelled().collect()))?,
        )
    }

    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        self.locked(py, false, Driver::abort)
    }

    fn tick(&self, py: Python<'_>, now: Time) -> PyResult<()> {
        let now = now.0;
        self.locked(py, false, |driver| driver.tick(now))
    }

    fn next_deadline(&self, py: Python<'_>) -> PyResult<Option<i64>> {
        self.locked(py, true, Driver::next_deadline)
    }

    fn phases<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u8>>> {
        let phases = self.locked(py, false, Driver::phases)?;
        Ok(read_only(PyArray1::from_vec(py, phases)))
    }

    fn attempts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let attempts = self.locked(py, false, |driver| {
            let nodes = driver.graph().node_count();
            Ok((0..nodes).map(|node| driver.attempt(node)).collect())
        })?;
        Ok(read_only(PyArray1::from_vec(py, attempts)))
    }

    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let counts = self.locked(py, false, |driver| {
            let mut counts = vec![0u64; 14];
            for phase in driver.phases()? {
                counts[phase as usize] += 1;
            }
            Ok(counts)
        })?;
        Ok(read_only(PyArray1::from_vec(py, counts)))
    }

    fn story(&self, py: Python<'_>, node: NodeIndex) -> PyResult<String> {
        let node = node.0;
        self.locked(py, false, |driver| driver.story(node))
    }

    fn check_invariants(&self, py: Python<'_>) -> PyResult<()> {
        self.locked(py, false, Driver::check_invariants)
    }

    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.locked(py, false, Driver::snapshot)?;
        Ok(PyBytes::new(py, &bytes))
    }

    #[staticmethod]
    #[pyo3(signature = (data, *, max_parallelism=Count(0), priority=None), text_signature = "(data, *, max_parallelism=0, priority=None)")]
    fn restore(
        py: Python<'_>,
        data: &[u8],
        max_parallelism: Count,
        priority: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let max_parallelism = max_parallelism.0;
        let priority = priorities(priority)?;
        let driver = detached(py, || Driver::restore(data, max_parallelism, priority))?
            .map_err(from_core)?;
        let graph = Py::new(py, PyGraph::of(driver.graph().clone()))?;
        Ok(PyRun {
            driver: Mutex::new(driver),
            graph,
            max_parallelism,
        })
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Kept<'py>)> {
        let py = slf.py();
        let rebuild = py.import("flyte_kernel.pickling")?.getattr("rebuild_run")?;
        let run = slf.get();
        let priority = run.locked(py, false, |driver| Ok(driver.priority().to_vec()))?;
        let priority = (!priority.is_empty()).then(|| PyArray1::from_vec(py, priority));
        Ok((rebuild, (run.snapshot(py)?, run.max_parallelism, priority)))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (phase, ready, nodes) = self.locked(py, false, |driver| {
            Ok((
                driver.run_phase(),
                driver.ready_count(),
                driver.graph().node_count(),
            ))
        })?;
        Ok(format!(
            "Run(node_count={nodes}, phase={phase:?}, ready={ready}, max_parallelism={})",
            self.max_parallelism
        ))
    }
}

fn priorities(priority: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<i64>> {
    let priority = optional_column::<i64>("priority", priority)?;
    Ok(match &priority {
        Some(column) => column.as_slice()?.to_vec(),
        None => Vec::new(),
    })
}

fn read_only<'py, T: numpy::Element>(array: Bound<'py, PyArray1<T>>) -> Bound<'py, PyArray1<T>> {
    array.readwrite().make_nonwriteable();
    array
}
