//! `Kernel` and `Turn`: columns in, columns out, the GIL released in between.

use std::sync::Mutex;

use flyte_kernel_core::{CoreError, Events, Kernel, MapCounts, Turn};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyBytes};

use crate::arrays::{column, view};
use crate::detached::detached;
use crate::errors::{from_core, kernel_error};
use crate::graph::PyGraph;
use crate::numbers::{Count, GraphIndex, NodeIndex, RunIndex, Size, Time};

#[pyclass(frozen, name = "Kernel", module = "flyte_kernel")]
pub(crate) struct PyKernel {
    kernel: Mutex<Kernel>,
}

impl PyKernel {
    /// Waits for the lock without the GIL, so that a thread in `step` can come back for it.
    fn locked<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Kernel) -> T + Send,
    ) -> PyResult<T> {
        detached(py, || {
            self.kernel.lock().ok().map(|mut kernel| work(&mut kernel))
        })?
        .ok_or_else(|| {
            kernel_error(
                "InternalError",
                "the core panicked before and this kernel can no longer be trusted".to_owned(),
            )
        })
    }

    /// The same for work that may fail.
    fn tried<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Kernel) -> Result<T, CoreError> + Send,
    ) -> PyResult<T> {
        self.locked(py, work)?.map_err(from_core)
    }
}

#[pymethods]
impl PyKernel {
    #[new]
    #[pyo3(signature = (*, system_attempts_extra=Count(3), record_transitions=true, story_capacity=Size(8192)), text_signature = "(*, system_attempts_extra=3, record_transitions=True, story_capacity=8192)")]
    fn new(system_attempts_extra: Count, record_transitions: bool, story_capacity: Size) -> Self {
        let system_attempts_extra = system_attempts_extra.0;
        let story_capacity = story_capacity.0;
        PyKernel {
            kernel: Mutex::new(Kernel::new(
                system_attempts_extra,
                record_transitions,
                story_capacity,
            )),
        }
    }

    fn add_graph(&self, py: Python<'_>, graph: &Bound<'_, PyGraph>) -> PyResult<u32> {
        let graph = graph.get().graph.clone();
        self.locked(py, |kernel| kernel.add_graph(graph))
    }

    fn release_graph(&self, py: Python<'_>, index: GraphIndex) -> PyResult<()> {
        let index = index.0;
        self.tried(py, |kernel| kernel.release_graph(index))
    }

    #[expect(clippy::too_many_arguments, reason = "one argument a column")]
    fn step(
        &self,
        py: Python<'_>,
        now: Time,
        kind: &Bound<'_, PyAny>,
        run: &Bound<'_, PyAny>,
        node: &Bound<'_, PyAny>,
        attempt: &Bound<'_, PyAny>,
        element: &Bound<'_, PyAny>,
        argument: &Bound<'_, PyAny>,
    ) -> PyResult<PyTurn> {
        let now = now.0;
        let kind = column::<u8>("kind", kind)?;
        let run = column::<u32>("run", run)?;
        let node = column::<u32>("node", node)?;
        let attempt = column::<u32>("attempt", attempt)?;
        let element = column::<u32>("element", element)?;
        let argument = column::<i64>("argument", argument)?;
        let events = Events {
            kind: kind.as_slice()?,
            run: run.as_slice()?,
            node: node.as_slice()?,
            attempt: attempt.as_slice()?,
            element: element.as_slice()?,
            argument: argument.as_slice()?,
        };
        let turn = self.tried(py, |kernel| kernel.step(now, &events))?;
        Ok(PyTurn::of(turn))
    }

    fn next_deadline(&self, py: Python<'_>) -> PyResult<Option<i64>> {
        self.locked(py, |kernel| kernel.next_deadline())
    }

    #[getter]
    fn run_count(&self, py: Python<'_>) -> PyResult<u32> {
        self.locked(py, |kernel| kernel.run_count())
    }

    fn is_live(&self, py: Python<'_>, run: RunIndex) -> PyResult<bool> {
        let run = run.0;
        self.locked(py, |kernel| {
            kernel
                .run(run)
                .is_ok_and(|found| !found.run_phase().is_terminal())
        })
    }

    fn run_phase(&self, py: Python<'_>, run: RunIndex) -> PyResult<u8> {
        let run = run.0;
        self.tried(py, |kernel| Ok(kernel.run(run)?.run_phase() as u8))
    }

    fn phases<'py>(&self, py: Python<'py>, run: RunIndex) -> PyResult<Bound<'py, PyArray1<u8>>> {
        let run = run.0;
        let phases = self.tried(py, |kernel| Ok(kernel.run(run)?.phases()))?;
        Ok(read_only(PyArray1::from_vec(py, phases)))
    }

    fn attempts<'py>(&self, py: Python<'py>, run: RunIndex) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let run = run.0;
        let attempts = self.tried(py, |kernel| {
            let found = kernel.run(run)?;
            Ok((0..found.graph().node_count())
                .map(|node| found.attempt(node))
                .collect())
        })?;
        Ok(read_only(PyArray1::from_vec(py, attempts)))
    }

    fn run_kinds<'py>(&self, py: Python<'py>, run: RunIndex) -> PyResult<Bound<'py, PyArray1<u8>>> {
        let run = run.0;
        let kinds = self.tried(py, |kernel| {
            let graph = kernel.run(run)?.graph();
            Ok((0..graph.node_count())
                .map(|node| graph.kind(node) as u8)
                .collect())
        })?;
        Ok(read_only(PyArray1::from_vec(py, kinds)))
    }

    fn run_scopes<'py>(
        &self,
        py: Python<'py>,
        run: RunIndex,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let run = run.0;
        let scopes = self.tried(py, |kernel| {
            let graph = kernel.run(run)?.graph();
            Ok((0..graph.node_count())
                .map(|node| graph.scope(node))
                .collect())
        })?;
        Ok(read_only(PyArray1::from_vec(py, scopes)))
    }

    #[pyo3(signature = (run, node, first=Count(0), count=None), text_signature = "($self, run, node, first=0, count=None)")]
    fn element_phases<'py>(
        &self,
        py: Python<'py>,
        run: RunIndex,
        node: NodeIndex,
        first: Count,
        count: Option<Count>,
    ) -> PyResult<Bound<'py, PyArray1<u8>>> {
        let run = run.0;
        let node = node.0;
        let first = first.0;
        let count = count.map(|number| number.0);
        let phases = self.tried(py, |kernel| {
            let found = kernel.map_run(run, node)?;
            let size = found.map_counts(node).size;
            Ok(found.element_phases(node, window(first, count, size)))
        })?;
        Ok(read_only(PyArray1::from_vec(py, phases)))
    }

    #[pyo3(signature = (run, node, first=Count(0), count=None), text_signature = "($self, run, node, first=0, count=None)")]
    fn element_attempts<'py>(
        &self,
        py: Python<'py>,
        run: RunIndex,
        node: NodeIndex,
        first: Count,
        count: Option<Count>,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let run = run.0;
        let node = node.0;
        let first = first.0;
        let count = count.map(|number| number.0);
        let attempts = self.tried(py, |kernel| {
            let found = kernel.map_run(run, node)?;
            let size = found.map_counts(node).size;
            Ok(found.element_attempts(node, window(first, count, size)))
        })?;
        Ok(read_only(PyArray1::from_vec(py, attempts)))
    }

    fn map_counts(
        &self,
        py: Python<'_>,
        run: RunIndex,
        node: NodeIndex,
    ) -> PyResult<(u32, u32, u32, u32, u32)> {
        let run = run.0;
        let node = node.0;
        let counts = self.tried(py, |kernel| Ok(kernel.map_run(run, node)?.map_counts(node)))?;
        let MapCounts {
            size,
            launched,
            succeeded,
            failed,
            active,
        } = counts;
        Ok((size, launched, succeeded, failed, active))
    }

    fn counters(
        &self,
        py: Python<'_>,
        run: RunIndex,
        node: NodeIndex,
    ) -> PyResult<(u32, u32, u32)> {
        let run = run.0;
        let node = node.0;
        let (attempt, failures) = self.tried(py, |kernel| kernel.counters(run, node))?;
        Ok((attempt, failures.user, failures.system))
    }

    fn release(&self, py: Python<'_>, run: RunIndex) -> PyResult<()> {
        let run = run.0;
        self.tried(py, |kernel| kernel.release(run))
    }

    fn story(&self, py: Python<'_>, run: RunIndex, node: NodeIndex) -> PyResult<String> {
        let run = run.0;
        let node = node.0;
        self.locked(py, |kernel| kernel.story(run, node))
    }

    fn check_invariants(&self, py: Python<'_>) -> PyResult<()> {
        self.tried(py, |kernel| kernel.check_invariants())
    }

    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.tried(py, |kernel| kernel.snapshot())?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        let restore = slf.get_type().getattr("restore")?;
        Ok((restore, (slf.get().snapshot(slf.py())?,)))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        self.locked(py, |kernel| {
            format!("Kernel(run_count={})", kernel.run_count())
        })
    }

    #[staticmethod]
    fn restore(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let kernel = detached(py, || Kernel::restore(data))?.map_err(from_core)?;
        Ok(PyKernel {
            kernel: Mutex::new(kernel),
        })
    }
}

/// The elements from `first` on, as many as are asked for and there are.
fn window(first: u32, count: Option<u32>, size: u32) -> std::ops::Range<u32> {
    let first = first.min(size);
    first..first.saturating_add(count.unwrap_or(size)).min(size)
}

fn read_only<'py, T: numpy::Element>(array: Bound<'py, PyArray1<T>>) -> Bound<'py, PyArray1<T>> {
    array.readwrite().make_nonwriteable();
    array
}

#[pyclass(frozen, name = "Turn", module = "flyte_kernel")]
pub(crate) struct PyTurn {
    turn: Turn,
    refused_event: Vec<u32>,
    refused_reason: Vec<u8>,
}

impl PyTurn {
    fn of(turn: Turn) -> Self {
        PyTurn {
            refused_event: turn.refused.iter().map(|refused| refused.index).collect(),
            refused_reason: turn
                .refused
                .iter()
                .map(|refused| refused.reason as u8)
                .collect(),
            turn,
        }
    }
}

macro_rules! columns {
    ($($name:ident: $type:ty => $($path:ident).+;)+) => {
        #[pymethods]
        impl PyTurn {
            $(
                #[getter]
                fn $name<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<$type>> {
                    view(slf.clone().into_any(), &slf.get().$($path).+)
                }
            )+

            #[getter]
            fn absorbed(&self) -> u64 {
                self.turn.absorbed
            }

            fn refusal(&self, index: usize) -> PyResult<Py<PyAny>> {
                let Some(refused) = self.turn.refused.get(index) else {
                    let message = format!("there is no refusal {index}, only {}", self.turn.refused.len());
                    return Err(kernel_error("UnknownNodeError", message));
                };
                let error = kernel_error("StateError", refused.message.clone());
                Python::attach(|py| Ok(error.into_value(py).into_any()))
            }

            fn __repr__(&self) -> String {
                format!(
                    "Turn(effects={}, transitions={}, refused={}, absorbed={})",
                    self.turn.effects.kind.len(),
                    self.turn.transitions.phase.len(),
                    self.turn.refused.len(),
                    self.turn.absorbed
                )
            }
        }
    };
}

columns! {
    effect_kind: u8 => turn.effects.kind;
    effect_run: u32 => turn.effects.run;
    effect_node: u32 => turn.effects.node;
    effect_attempt: u32 => turn.effects.attempt;
    effect_element: u32 => turn.effects.element;
    effect_argument: i64 => turn.effects.argument;
    effect_cause: u32 => turn.effects.cause;
    transition_run: u32 => turn.transitions.run;
    transition_node: u32 => turn.transitions.node;
    transition_phase: u8 => turn.transitions.phase;
    transition_attempt: u32 => turn.transitions.attempt;
    refused_event: u32 => refused_event;
    refused_reason: u8 => refused_reason;
}
