//! What the machine allows for driving a graph, without Python: a bare loop over the rows that counts upstreams down, and
//! the core itself. One JSON record a line, as `bench/records.py` reads them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use flyte_kernel_core::{EffectKind, EventKind, Events, Graph, Kernel, NONE, NodeColumns};

const ROUNDS: usize = 25;

/// Layers of `width` nodes; every node waits for nodes of the layer before.
fn layered(nodes: u32, edges: u32, width: u32) -> (Vec<u32>, Vec<u32>) {
    let mut state = 20_260_101_u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let mut target: Vec<u32> = (0..edges)
        .map(|edge| edge % (nodes - width) + width)
        .collect();
    target.sort_unstable();
    let source = target
        .iter()
        .map(|node| (node / width - 1) * width + random() % width)
        .collect();
    (source, target)
}

/// Frontier by frontier, nothing but counters.
fn bare(graph: &Graph, indegree: &[u32]) -> usize {
    let mut pending = indegree.to_vec();
    let mut ready: Vec<u32> = (0..graph.node_count())
        .filter(|node| pending[*node as usize] == 0)
        .collect();
    let mut next = Vec::new();
    let mut seen = 0;
    while !ready.is_empty() {
        seen += ready.len();
        for &node in &ready {
            for &target in graph.downstream(node) {
                pending[target as usize] -= 1;
                if pending[target as usize] == 0 {
                    next.push(target);
                }
            }
        }
        ready.clear();
        std::mem::swap(&mut ready, &mut next);
    }
    seen
}

fn core(graph: &Arc<Graph>) -> usize {
    let mut kernel = Kernel::new(3, true, 8_192);
    let index = kernel.add_graph(graph.clone());
    let nodes = graph.node_count() as usize;
    let (kind, element, argument) = (
        vec![EventKind::AttemptSucceeded as u8; nodes],
        vec![NONE; nodes],
        vec![0; nodes],
    );
    let created = Events {
        kind: &[1],
        run: &[0],
        node: &[index],
        attempt: &[0],
        element: &[NONE],
        argument: &[0],
    };
    let mut turn = kernel.step(0, &created).expect("columns are of one length");
    let mut seen = 0;
    while turn.effects.kind.last() != Some(&(EffectKind::FinishRun as u8)) {
        let count = turn.effects.node.len();
        seen += count;
        let events = Events {
            kind: &kind[..count],
            run: &turn.effects.run,
            node: &turn.effects.node,
            attempt: &turn.effects.attempt,
            element: &element[..count],
            argument: &argument[..count],
        };
        turn = kernel.step(0, &events).expect("columns are of one length");
    }
    seen
}

fn report(workload: &str, name: &str, role: &str, nodes: u32, mut work: impl FnMut() -> usize) {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        assert_eq!(black_box(work()), nodes as usize);
        best = best.min(began.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        r#"{{"workload": "{workload}", "name": "{name}", "role": "{role}", "value": {best:.4}, "unit": "ms"}}"#
    );
}

fn main() {
    let (nodes, edges, width) = (100_000, 300_000, 1_000);
    let (source, target) = layered(nodes, edges, width);
    let graph = Graph::from_edges(nodes, &source, &target, NodeColumns::default())
        .expect("layers have no cycle");
    let graph = Arc::new(graph);
    let indegree: Vec<u32> = (0..nodes).map(|node| graph.indegree(node)).collect();
    let workload = "drive 100,000 nodes, 300,000 edges";
    report(workload, "bare loop over rows", "limit", nodes, || {
        bare(&graph, &indegree)
    });
    report(workload, "flyte_kernel from Rust", "ours", nodes, || {
        core(&graph)
    });
}
