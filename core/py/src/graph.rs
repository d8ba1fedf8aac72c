//! `Graph`: arrays to a checked graph.

use std::sync::{Arc, OnceLock};

use flyte_kernel_core::{Graph, NodeColumns};
use numpy::{Element, PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict};

use crate::arrays::{column, optional_column, view};
use crate::detached::detached;
use crate::errors::{from_core, kernel_error};
use crate::numbers::{NodeCount, NodeIndex};

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

type Numbers<'py> = Bound<'py, PyArray1<u32>>;

fn made(py: Python<'_>, numbers: Vec<u32>) -> Numbers<'_> {
    let array = PyArray1::from_vec(py, numbers);
    array.readwrite().make_nonwriteable();
    array
}

impl PyGraph {
    pub(crate) fn of(graph: Arc<Graph>) -> Self {
        PyGraph {
            graph,
            kind: Column::new(),
            scope: Column::new(),
            attempts_max: Column::new(),
            execution_timeout: Column::new(),
            active_timeout: Column::new(),
            failure_handler: Column::new(),
        }
    }

    fn check(&self, node: u32) -> PyResult<()> {
        let nodes = self.graph.node_count();
        if node < nodes {
            return Ok(());
        }
        let message = format!("there is no node {node} in a graph of {nodes} nodes");
        Err(kernel_error("UnknownNodeError", message))
    }
}

#[pymethods]
impl PyGraph {
    #[staticmethod]
    #[pyo3(signature = (node_count, source, target, *, kind=None, scope=None, attempts_max=None, execution_timeout=None, active_timeout=None, failure_handler=None))]
    #[expect(clippy::too_many_arguments, reason = "one argument a column")]
    fn from_edges(
        py: Python<'_>,
        node_count: NodeCount,
        source: &Bound<'_, PyAny>,
        target: &Bound<'_, PyAny>,
        kind: Option<&Bound<'_, PyAny>>,
        scope: Option<&Bound<'_, PyAny>>,
        attempts_max: Option<&Bound<'_, PyAny>>,
        execution_timeout: Option<&Bound<'_, PyAny>>,
        active_timeout: Option<&Bound<'_, PyAny>>,
        failure_handler: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let node_count = node_count.0;
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
        Ok(PyGraph::of(Arc::new(graph)))
    }

    fn edges<'py>(&self, py: Python<'py>) -> PyResult<(Numbers<'py>, Numbers<'py>)> {
        let (source, target) = detached(py, || self.graph.edges())?;
        Ok((made(py, source), made(py, target)))
    }

    fn topological_order<'py>(&self, py: Python<'py>) -> PyResult<Numbers<'py>> {
        Ok(made(py, detached(py, || self.graph.topological_order())?))
    }

    fn levels<'py>(&self, py: Python<'py>) -> PyResult<Numbers<'py>> {
        Ok(made(py, detached(py, || self.graph.levels())?))
    }

    #[pyo3(signature = (weights=None))]
    fn critical_path<'py>(
        &self,
        py: Python<'py>,
        weights: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(Numbers<'py>, f64)> {
        let weights = optional_column::<f64>("weights", weights)?;
        let weights = slice(weights.as_ref());
        let (path, weight) =
            detached(py, || self.graph.critical_path(weights))?.map_err(from_core)?;
        Ok((made(py, path), weight))
    }

    fn ancestors<'py>(&self, py: Python<'py>, node: NodeIndex) -> PyResult<Numbers<'py>> {
        let node = node.0;
        self.check(node)?;
        Ok(made(py, detached(py, || self.graph.ancestors_of(node))?))
    }

    fn descendants<'py>(&self, py: Python<'py>, node: NodeIndex) -> PyResult<Numbers<'py>> {
        let node = node.0;
        self.check(node)?;
        Ok(made(py, detached(py, || self.graph.descendants_of(node))?))
    }

    fn subgraph(&self, py: Python<'_>, nodes: &Bound<'_, PyAny>) -> PyResult<Self> {
        let nodes = column::<u32>("nodes", nodes)?;
        let nodes = slice(Some(&nodes));
        let graph = detached(py, || self.graph.subgraph(nodes))?.map_err(from_core)?;
        Ok(PyGraph::of(Arc::new(graph)))
    }

    /// As `flyte_kernel.pickling.rebuild_graph` takes it; columns that are the default everywhere are left out.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let py = slf.py();
        let columns = PyDict::new(py);
        for name in slf.get().graph.columns_in_use() {
            columns.set_item(name, slf.getattr(name)?.call_method0("copy")?)?;
        }
        let rebuild = py
            .import("flyte_kernel.pickling")?
            .getattr("rebuild_graph")?;
        let (source, target) = slf.get().edges(py)?;
        let arguments = (slf.get().graph.node_count(), source, target, columns);
        Ok((rebuild, arguments.into_pyobject(py)?.into_any()))
    }

    fn __len__(&self) -> usize {
        self.graph.node_count() as usize
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other
            .cast::<PyGraph>()
            .is_ok_and(|other| self.graph == other.get().graph)
    }

    fn __hash__(&self) -> u64 {
        u64::from(self.graph.node_count()) << 32 ^ self.graph.edge_count() as u64
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

    fn downstream<'py>(
        slf: &Bound<'py, Self>,
        node: NodeIndex,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let node = node.0;
        slf.get().check(node)?;
        Ok(view(
            slf.clone().into_any(),
            slf.get().graph.downstream(node),
        ))
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
