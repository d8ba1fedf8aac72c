//! A kernel as bytes and back: a magic word, a format version, the content, a checksum over all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crc::{CRC_32_ISCSI, Crc};
use serde::{Deserialize, Serialize};

use crate::error::CoreError;
use crate::graph::Graph;
use crate::kernel::Kernel;
use crate::run::{Run, RunState};

const MAGIC: [u8; 4] = *b"FKKS";
const VERSION: u8 = 4;
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// What is kept; the stories are not, and timers are made again from the runs' deadlines.
#[derive(Serialize, Deserialize)]
struct Content<G, R> {
    system_attempts_extra: u32,
    record_transitions: bool,
    story_capacity: u64,
    graph_count: u32,
    /// Graphs that runs may still name.
    named: BTreeSet<u32>,
    /// By index: those, and the graphs of runs that live.
    graphs: BTreeMap<u32, G>,
    run_count: u32,
    /// By index: the graph, its own one if it has grown, and the arrays of each run that was not released.
    runs: BTreeMap<u32, (u32, Option<G>, R)>,
}

impl Kernel {
    /// Everything but the stories, as bytes for `restore`.
    pub fn snapshot(&self) -> Result<Vec<u8>, CoreError> {
        let mut graphs: BTreeMap<u32, &Graph> = BTreeMap::new();
        let mut runs: BTreeMap<u32, (u32, Option<&Graph>, &RunState)> = BTreeMap::new();
        for (index, run) in (0u32..).zip(&self.runs) {
            if let Some(run) = run {
                let own = Some(&*run.graph).filter(|_| run.has_grown);
                if own.is_none() {
                    graphs.insert(run.graph_index, &run.graph);
                }
                runs.insert(index, (run.graph_index, own, &run.state));
            }
        }
        let mut named = BTreeSet::new();
        for (index, graph) in (0u32..).zip(&self.graphs) {
            if let Some(graph) = graph {
                graphs.insert(index, graph);
                named.insert(index);
            }
        }
        let content = Content {
            system_attempts_extra: self.system_attempts_extra,
            record_transitions: self.record_transitions,
            story_capacity: self.story_capacity as u64,
            graph_count: self.graphs.len() as u32,
            named,
            graphs,
            run_count: self.runs.len() as u32,
            runs,
        };
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        let mut bytes = postcard::to_extend(&content, bytes)
            .map_err(|_| CoreError::BadSnapshot("it cannot be written"))?;
        bytes.extend(CHECKSUM.checksum(&bytes).to_le_bytes());
        Ok(bytes)
    }

    /// The kernel that `snapshot` was taken of; runs go on as if nothing had happened.
    pub fn restore(bytes: &[u8]) -> Result<Self, CoreError> {
        let body = bytes
            .strip_prefix(&MAGIC)
            .ok_or(CoreError::BadSnapshot("it is not one of this core"))?;
        let (version, _) = body
            .split_first()
            .ok_or(CoreError::BadSnapshot("it is cut short"))?;
        if *version != VERSION {
            return Err(CoreError::BadSnapshot("it has another format version"));
        }
        let damaged = CoreError::BadSnapshot("its content is damaged");
        let Some((kept, checksum)) = bytes.split_last_chunk() else {
            return Err(damaged);
        };
        if CHECKSUM.checksum(kept) != u32::from_le_bytes(*checksum) {
            return Err(damaged);
        }
        let content = kept.get(MAGIC.len() + 1..).unwrap_or_default();
        let Ok((content, [])) = postcard::take_from_bytes::<Content<Graph, RunState>>(content)
        else {
            return Err(damaged);
        };
        content.into_kernel()
    }
}

impl Content<Graph, RunState> {
    fn into_kernel(self) -> Result<Kernel, CoreError> {
        let mut kernel = Kernel::new(
            self.system_attempts_extra,
            self.record_transitions,
            self.story_capacity as usize,
        );
        let graphs: BTreeMap<u32, Arc<Graph>> = self
            .graphs
            .into_iter()
            .map(|(index, graph)| (index, Arc::new(graph)))
            .collect();
        let named = |index| {
            graphs
                .get(&index)
                .filter(|_| self.named.contains(&index))
                .cloned()
        };
        kernel.graphs = (0..self.graph_count).map(named).collect();
        kernel.runs = vec![None; self.run_count as usize];
        for (index, (graph_index, own, state)) in self.runs {
            let has_grown = own.is_some();
            let graph = own
                .map(Arc::new)
                .or_else(|| graphs.get(&graph_index).cloned())
                .ok_or(CoreError::BadSnapshot("a run's graph is missing"))?;
            let place = kernel
                .runs
                .get_mut(index as usize)
                .ok_or(CoreError::BadSnapshot("a run has no place"))?;
            for (clock, &deadline) in &state.deadlines {
                kernel.timers.arm(clock.timer(index, deadline));
            }
            if !state.fits(&graph) {
                return Err(CoreError::BadSnapshot("a run does not fit its graph"));
            }
            *place = Some(Box::new(Run {
                graph,
                graph_index,
                has_grown,
                state,
            }));
        }
        Ok(kernel)
    }
}
