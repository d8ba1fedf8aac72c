//! `Graph`: arrays to a checked graph.

use std::sync::{Arc, OnceLock};

use flyte_kernel_core::{Graph, NodeColumns};
use numpy::{Element, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::arrays::{column, optional_column, view};
use crate::detached::detached;
use crate::errors::{from_core, kernel_error};

/// A column that is written out when somebody asks for it first: the graph itself keeps defaults as nothing.
type Column<T> = OnceLock<Vec<T>>;

#[pyclass(frozen, name = "Graph", module = "flyte_kernel")]
pub(crate) struct PyGraph {
    pub(crate) graph: Arc<Graph>,
    kind: Column<u8>,
    scope: Column<u32>,
    attempts_max: Column<u16>,
    execution_timeout: Column<i64>,
    active_timeout: Column<i64>,
    failure_handler: Column<bool>,
}

fn slice<'a, T: numpy::Element>(column: Option<&'a PyReadonlyArray1<'_, T>>) -> &'a [T] {
    column
        .and_then(|column| column.as_slice().ok())
        .unwrap_or_default()
}

#[pymethods]
impl PyGraph {
    #[staticmethod]
    #[pyo3(signature = (node_count, source, target, *, kind=None, scope=None, attempts_max=None, execution_timeout=None, active_timeout=None, failure_handler=None))]
    #[expect(clippy::too_many_arguments, reason = "one argument a column")]
    fn from_edges(
        py: Python<'_>,
        node_count: i64,
        source: &Bound<'_, PyAny>,
        target: &Bound<'_, PyAny>,
        kind: Option<&Bound<'_, PyAny>>,
        scope: Option<&Bound<'_, PyAny>>,
        attempts_max: Option<&Bound<'_, PyAny>>,
        execution_timeout: Option<&Bound<'_, PyAny>>,
        active_timeout: Option<&Bound<'_, PyAny>>,
        failure_handler: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let node_count = u32::try_from(node_count).map_err(|_| {
            kernel_error(
                "GraphError",
                format!("node_count must be from 0 to 4294967294, not {node_count}"),
            )
        })?;
        let source = column::<u32>("source", source)?;
        let target = column::<u32>("target", target)?;
        let kind = optional_column::<u8>("kind", kind)?;
        let scope = optional_column::<u32>("scope", scope)?;
        let attempts_max = optional_column::<u16>("attempts_max", attempts_max)?;
        let execution_timeout = optional_column::<i64>("execution_timeout", execution_timeout)?;
        let active_timeout = optional_column::<i64>("active_timeout", active_timeout)?;
        let failure_handler = optional_column::<bool>("failure_handler", failure_handler)?;
        let columns = NodeColumns {
            kind: slice(kind.as_ref()),
            scope: slice(scope.as_ref()),
            attempts_max: slice(attempts_max.as_ref()),
            execution_timeout: slice(execution_timeout.as_ref()),
            active_timeout: slice(active_timeout.as_ref()),
            failure_handler: slice(failure_handler.as_ref()),
        };
        let (source, target) = (slice(Some(&source)), slice(Some(&target)));
        let graph = detached(py, || {
            Graph::from_edges(node_count, source, target, columns)
        })?
        .map_err(from_core)?;
        Ok(PyGraph {
            graph: Arc::new(graph),
            kind: Column::new(),
            scope: Column::new(),
            attempts_max: Column::new(),
            execution_timeout: Column::new(),
            active_timeout: Column::new(),
            failure_handler: Column::new(),
        })
    }

    #[getter]
    fn node_count(&self) -> u32 {
        self.graph.node_count()
    }

    #[getter]
    fn edge_count(&self) -> usize {
        self.graph.edge_count()
    }

    #[getter]
    fn kind<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<u8>> {
        show(slf, &slf.get().kind, |graph, node| graph.kind(node) as u8)
    }

    #[getter]
    fn scope<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<u32>> {
        show(slf, &slf.get().scope, Graph::scope)
    }

    #[getter]
    fn attempts_max<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<u16>> {
        show(slf, &slf.get().attempts_max, Graph::attempts_max)
    }

    #[getter]
    fn execution_timeout<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<i64>> {
        show(slf, &slf.get().execution_timeout, Graph::execution_timeout)
    }

    #[getter]
    fn active_timeout<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<i64>> {
        show(slf, &slf.get().active_timeout, Graph::active_timeout)
    }

    #[getter]
    fn failure_handler<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<bool>> {
        show(slf, &slf.get().failure_handler, Graph::is_failure_handler)
    }

    fn downstream<'py>(slf: &Bound<'py, Self>, node: u32) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let graph = &slf.get().graph;
        if node >= graph.node_count() {
            let message = format!(
                "there is no node {node} in a graph of {} nodes",
                graph.node_count()
            );
            return Err(kernel_error("UnknownNodeError", message));
        }
        Ok(view(slf.clone().into_any(), graph.downstream(node)))
    }

    fn __repr__(&self) -> String {
        format!(
            "Graph(node_count={}, edge_count={})",
            self.graph.node_count(),
            self.graph.edge_count()
        )
    }
}

fn show<'py, T: Element + Send + Sync>(
    slf: &Bound<'py, PyGraph>,
    column: &Column<T>,
    of: impl Fn(&Graph, u32) -> T,
) -> Bound<'py, PyArray1<T>> {
    let graph = &slf.get().graph;
    let column = column.get_or_init(|| {
        (0..graph.node_count())
            .map(|node| of(graph, node))
            .collect()
    });
    view(slf.clone().into_any(), column)
}
