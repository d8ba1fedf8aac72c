//! What the machine allows for driving a graph, without Python: a bare loop over the rows that counts upstreams down, and
//! the core itself. One JSON record a line, as `bench/records.py` reads them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use flyte_kernel_core::{EffectKind, EventKind, Events, Graph, Kernel, NONE, NodeColumns, Turn};

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
    let mut spare = Turn::default();
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
        kernel
            .step_into(0, &events, &mut spare)
            .expect("columns are of one length");
        std::mem::swap(&mut turn, &mut spare);
    }
    seen
}

/// What a build must at least do: count, sum up and scatter the edges both ways, then drive once.
fn bare_build(nodes: u32, source: &[u32], target: &[u32]) -> usize {
    let mut offset = vec![0_u32; nodes as usize + 1];
    let mut indegree = vec![0_u32; nodes as usize];
    for (&from, &to) in source.iter().zip(target) {
        offset[from as usize + 1] += 1;
        indegree[to as usize] += 1;
    }
    for node in 0..nodes as usize {
        offset[node + 1] += offset[node];
    }
    let mut place = offset.clone();
    let mut downstream = vec![0_u32; target.len()];
    for (&from, &to) in source.iter().zip(target) {
        downstream[place[from as usize] as usize] = to;
        place[from as usize] += 1;
    }
    let mut ready: Vec<u32> = (0..nodes)
        .filter(|node| indegree[*node as usize] == 0)
        .collect();
    let mut seen = 0;
    while let Some(node) = ready.pop() {
        seen += 1;
        let (first, last) = (offset[node as usize], offset[node as usize + 1]);
        for &to in &downstream[first as usize..last as usize] {
            indegree[to as usize] -= 1;
            if indegree[to as usize] == 0 {
                ready.push(to);
            }
        }
    }
    seen
}

fn report(
    workload: &str,
    name: &str,
    role: &str,
    rounds: usize,
    nodes: u32,
    mut work: impl FnMut() -> usize,
) {
    let mut best = f64::MAX;
    for _ in 0..rounds {
        let began = Instant::now();
        assert_eq!(black_box(work()), nodes as usize);
        best = best.min(began.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        r#"{{"workload": "{workload}", "name": "{name}", "role": "{role}", "value": {best:.4}, "unit": "ms", "check": "{nodes}"}}"#
    );
}

/// The bare loop and the core over one graph, the core once as it is stepped and once as its driver takes node by node.
fn compare(workload: &str, nodes: u32, source: &[u32], target: &[u32]) {
    let graph = Graph::from_edges(nodes, source, target, NodeColumns::default())
        .expect("these graphs have no cycle");
    let graph = Arc::new(graph);
    let indegree: Vec<u32> = (0..nodes).map(|node| graph.indegree(node)).collect();
    report(
        workload,
        "bare loop over rows",
        "limit",
        ROUNDS,
        nodes,
        || bare(&graph, &indegree),
    );
    report(
        workload,
        "flyte_kernel from Rust",
        "ours",
        ROUNDS,
        nodes,
        || core(&graph),
    );
}

fn main() {
    let (source, target) = layered(100_000, 300_000, 1_000);
    compare(
        "drive 100,000 nodes, 300,000 edges",
        100_000,
        &source,
        &target,
    );
    compare("wide: 100,000 nodes side by side", 100_000, &[], &[]);
    let source: Vec<u32> = (0..99_999).collect();
    let target: Vec<u32> = (1..100_000).collect();
    compare("chain of 100,000", 100_000, &source, &target);
    let (source, target) = layered(1_000_000, 3_000_000, 1_000);
    let workload = "build 1,000,000 nodes, 3,000,000 edges";
    report(
        workload,
        "bare rows and one drive",
        "limit",
        5,
        1_000_000,
        || bare_build(1_000_000, &source, &target),
    );
    report(
        workload,
        "flyte_kernel from Rust",
        "ours",
        5,
        1_000_000,
        || {
            let graph = Graph::from_edges(1_000_000, &source, &target, NodeColumns::default());
            graph.expect("layers have no cycle").node_count() as usize
        },
    );
}
