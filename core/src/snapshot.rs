//! A kernel as bytes and back: a magic word, a format version, the content, a checksum over the content.

use std::collections::BTreeMap;
use std::sync::Arc;

use crc::{CRC_32_ISCSI, Crc};
use serde::{Deserialize, Serialize};

use crate::error::CoreError;
use crate::graph::Graph;
use crate::kernel::Kernel;
use crate::run::Run;
use crate::story::Story;
use crate::timer::{Timer, Timers};

const MAGIC: [u8; 4] = *b"FKKS";
const VERSION: u8 = 1;
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// What is kept; the stories are not.
#[derive(Serialize, Deserialize)]
struct Content {
    system_attempts_extra: u32,
    record_transitions: bool,
    story_capacity: u64,
    graph_count: u32,
    /// By index: graphs that runs may still name, and those that live runs use.
    graphs: BTreeMap<u32, (bool, Graph)>,
    run_count: u32,
    runs: BTreeMap<u32, Run>,
    timers: Vec<Timer>,
}

impl Kernel {
    /// Everything but the stories, as bytes for `restore`.
    pub fn snapshot(&self) -> Result<Vec<u8>, CoreError> {
        let mut graphs: BTreeMap<u32, (bool, Graph)> = BTreeMap::new();
        let runs: BTreeMap<u32, Run> = (0u32..)
            .zip(&self.runs)
            .filter_map(|(index, run)| Some((index, (**run.as_ref()?).clone())))
            .collect();
        for run in runs.values() {
            graphs.insert(run.graph_index, (false, (*run.graph).clone()));
        }
        for (index, graph) in (0u32..).zip(&self.graphs) {
            if let Some(graph) = graph {
                graphs.insert(index, (true, (**graph).clone()));
            }
        }
        let content = Content {
            system_attempts_extra: self.system_attempts_extra,
            record_transitions: self.record_transitions,
            story_capacity: self.story_capacity as u64,
            graph_count: self.graphs.len() as u32,
            graphs,
            run_count: self.runs.len() as u32,
            runs,
            timers: self.timers.all().copied().collect(),
        };
        let body = postcard::to_stdvec_crc32(&content, CHECKSUM.digest())
            .map_err(|_| CoreError::BadSnapshot("it cannot be written"))?;
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend(body);
        Ok(bytes)
    }

    /// The kernel that `snapshot` was taken of; runs go on as if nothing had happened.
    pub fn restore(bytes: &[u8]) -> Result<Self, CoreError> {
        let body = bytes
            .strip_prefix(&MAGIC)
            .ok_or(CoreError::BadSnapshot("it is not one of this core"))?;
        let (version, body) = body
            .split_first()
            .ok_or(CoreError::BadSnapshot("it is cut short"))?;
        if *version != VERSION {
            return Err(CoreError::BadSnapshot("it has another format version"));
        }
        let content: Content = postcard::from_bytes_crc32(body, CHECKSUM.digest())
            .map_err(|_| CoreError::BadSnapshot("its content is damaged"))?;
        content.into_kernel()
    }
}

impl Content {
    fn into_kernel(self) -> Result<Kernel, CoreError> {
        let shared: BTreeMap<u32, (bool, Arc<Graph>)> = self
            .graphs
            .into_iter()
            .map(|(index, (named, graph))| (index, (named, Arc::new(graph))))
            .collect();
        let named = |index: u32| {
            shared
                .get(&index)
                .filter(|(named, _)| *named)
                .map(|(_, graph)| graph.clone())
        };
        let mut runs: Vec<Option<Box<Run>>> = vec![None; self.run_count as usize];
        for (index, mut run) in self.runs {
            let missing = CoreError::BadSnapshot("a run's graph is missing");
            run.graph = shared.get(&run.graph_index).ok_or(missing)?.1.clone();
            let slot = runs
                .get_mut(index as usize)
                .ok_or(CoreError::BadSnapshot("a run has no place"))?;
            *slot = Some(Box::new(run));
        }
        let mut timers = Timers::default();
        self.timers.into_iter().for_each(|timer| timers.arm(timer));
        let story_capacity = self.story_capacity as usize;
        Ok(Kernel {
            graphs: (0..self.graph_count).map(named).collect(),
            runs,
            timers,
            story: Story::new(story_capacity),
            system_attempts_extra: self.system_attempts_extra,
            record_transitions: self.record_transitions,
            story_capacity,
        })
    }
}
