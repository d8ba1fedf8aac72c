//! For every graph and every batch of events: what is built is what was asked, nothing panics, every transition is in the
//! table, the invariants hold after every step, and a snapshot changes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use flyte_kernel_core::{CoreError, Events, Graph, Kernel, NONE, NodeColumns, Phase, Turn};
use proptest::collection::vec;
use proptest::prelude::*;

const BRANCH: u8 = 4;

/// Columns of a graph that may or may not be one.
#[derive(Debug, Clone)]
struct Raw {
    source: Vec<u32>,
    target: Vec<u32>,
    kind: Vec<u8>,
    scope: Vec<u32>,
    attempts_max: Vec<u16>,
    execution_timeout: Vec<i64>,
    active_timeout: Vec<i64>,
}

impl Raw {
    fn build(&self) -> Result<Graph, CoreError> {
        let columns = NodeColumns {
            kind: &self.kind,
            scope: &self.scope,
            attempts_max: &self.attempts_max,
            execution_timeout: &self.execution_timeout,
            active_timeout: &self.active_timeout,
            failure_handler: &[],
        };
        Graph::from_edges(self.kind.len() as u32, &self.source, &self.target, columns)
    }
}

/// Any columns at all, most of which cannot be a graph.
fn any_columns() -> impl Strategy<Value = Raw> {
    (0usize..8).prop_flat_map(|nodes| {
        let node = 0..(nodes as u32 + 2);
        (
            vec((node.clone(), node.clone()), 0..10),
            vec(0u8..9, nodes),
            vec(prop_oneof![Just(NONE), node], nodes),
            vec(0u16..3, nodes),
            vec(-1i64..9, nodes),
        )
            .prop_map(|(edges, kind, scope, attempts_max, timeout)| Raw {
                source: edges.iter().map(|edge| edge.0).collect(),
                target: edges.iter().map(|edge| edge.1).collect(),
                kind,
                scope,
                attempts_max,
                execution_timeout: timeout.clone(),
                active_timeout: timeout,
            })
    })
}

/// Columns that are a graph: edges go upwards within a scope and never join the arms of a branch, scopes have the lower index.
fn good_columns() -> impl Strategy<Value = Raw> {
    (0usize..14).prop_flat_map(|nodes| {
        (
            vec((any::<u32>(), any::<u32>()), 0..2 * nodes + 1),
            vec(
                prop_oneof![3 => Just(0u8), 1 => 1u8..3, 2 => 3u8..5, 1 => 6u8..8],
                nodes,
            ),
            vec(any::<u32>(), nodes),
            vec(1u16..4, nodes),
            vec(prop_oneof![2 => Just(0i64), 1 => 1i64..20], nodes),
            vec(prop_oneof![3 => Just(0i64), 1 => 1i64..30], nodes),
        )
            .prop_map(
                |(edges, kind, choices, attempts_max, execution_timeout, active_timeout)| {
                    let mut scope = vec![NONE; kind.len()];
                    for node in 0..kind.len() {
                        let around: Vec<u32> = (0..node as u32)
                            .filter(|outer| matches!(kind[*outer as usize], 3 | 4))
                            .collect();
                        if let Some(place) = (choices[node] as usize).checked_rem(around.len() + 1)
                        {
                            scope[node] = around.get(place).copied().unwrap_or(NONE);
                        }
                    }
                    let within = |(from, to): &(u32, u32)| {
                        let nodes = kind.len() as u32;
                        let (from, to) = (from % nodes.max(1), to % nodes.max(1));
                        let around = scope[from as usize];
                        let are_arms = around != NONE && kind[around as usize] == BRANCH;
                        (from < to && around == scope[to as usize] && !are_arms)
                            .then_some((from, to))
                    };
                    let edges: Vec<(u32, u32)> = edges.iter().filter_map(within).collect();
                    Raw {
                        source: edges.iter().map(|edge| edge.0).collect(),
                        target: edges.iter().map(|edge| edge.1).collect(),
                        kind,
                        scope,
                        attempts_max,
                        execution_timeout,
                        active_timeout,
                    }
                },
            )
    })
}

type Row = (u8, u32, u32, u32, u32, i64);

fn any_row() -> impl Strategy<Value = Row> {
    (
        prop_oneof![9 => 2u8..9, 1 => any::<u8>()],
        prop_oneof![9 => 0u32..2, 1 => any::<u32>()],
        prop_oneof![9 => 0u32..14, 1 => any::<u32>()],
        prop_oneof![9 => 0u32..3, 1 => any::<u32>()],
        prop_oneof![9 => Just(NONE), 1 => 0u32..4],
        prop_oneof![9 => 0i64..3, 1 => any::<i64>()],
    )
}

fn step(kernel: &mut Kernel, now: i64, rows: &[Row]) -> Turn {
    let kind: Vec<u8> = rows.iter().map(|row| row.0).collect();
    let run: Vec<u32> = rows.iter().map(|row| row.1).collect();
    let node: Vec<u32> = rows.iter().map(|row| row.2).collect();
    let attempt: Vec<u32> = rows.iter().map(|row| row.3).collect();
    let element: Vec<u32> = rows.iter().map(|row| row.4).collect();
    let argument: Vec<i64> = rows.iter().map(|row| row.5).collect();
    let events = Events {
        kind: &kind,
        run: &run,
        node: &node,
        attempt: &attempt,
        element: &element,
        argument: &argument,
    };
    kernel
        .step(now, &events)
        .expect("columns are of one length")
}

/// Follows the transitions of a turn; returns the first that is not in the table.
fn illegal(turn: &Turn, phases: &mut HashMap<(u32, u32), Phase>) -> Option<(Phase, Phase)> {
    let moves = turn
        .transitions
        .run
        .iter()
        .zip(&turn.transitions.node)
        .zip(&turn.transitions.phase);
    for ((&run, &node), &phase) in moves.filter(|((_, node), _)| **node != NONE) {
        let after = Phase::from_u8(phase)?;
        let before = phases
            .insert((run, node), after)
            .unwrap_or(Phase::Undefined);
        if !before.may_become(after) {
            return Some((before, after));
        }
    }
    None
}

/// Whether a graph's edges close a cycle, found by following every path.
fn has_cycle(nodes: usize, edges: &[(u32, u32)]) -> bool {
    fn reaches(from: u32, to: u32, edges: &[(u32, u32)], left: usize) -> bool {
        left > 0
            && edges.iter().any(|edge| {
                edge.0 == from && (edge.1 == to || reaches(edge.1, to, edges, left - 1))
            })
    }
    (0..nodes as u32).any(|node| reaches(node, node, edges, nodes))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_columns_are_a_graph_or_a_clear_refusal(raw in any_columns()) {
        match raw.build() {
            Ok(graph) => {
                prop_assert_eq!(graph.edge_count(), raw.source.len());
                prop_assert!(raw.attempts_max.iter().all(|attempts| *attempts > 0));
                prop_assert!(raw.execution_timeout.iter().all(|timeout| *timeout >= 0));
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn rows_hold_every_edge_in_its_order(nodes in 1u32..9, edges in vec((0u32..8, 1u32..9), 0..20)) {
        let upwards = |(from, to): (u32, u32)| (from < to && to < nodes).then_some((from, to));
        let edges: Vec<(u32, u32)> = edges.into_iter().filter_map(upwards).collect();
        let (source, target): (Vec<u32>, Vec<u32>) = edges.iter().copied().unzip();
        let graph = Graph::from_edges(nodes, &source, &target, NodeColumns::default()).unwrap();
        for node in 0..nodes {
            let expected: Vec<u32> = edges.iter().filter(|edge| edge.0 == node).map(|edge| edge.1).collect();
            prop_assert_eq!(graph.downstream(node), expected);
            prop_assert_eq!(graph.indegree(node) as usize, edges.iter().filter(|edge| edge.1 == node).count());
        }
    }

    #[test]
    fn a_cycle_is_found_and_is_one(nodes in 1u32..7, edges in vec((0u32..7, 0u32..7), 0..9)) {
        let edges: Vec<(u32, u32)> = edges.into_iter().map(|edge| (edge.0 % nodes, edge.1 % nodes)).collect();
        let (source, target): (Vec<u32>, Vec<u32>) = edges.iter().copied().unzip();
        match Graph::from_edges(nodes, &source, &target, NodeColumns::default()) {
            Ok(_) => prop_assert!(!has_cycle(nodes as usize, &edges)),
            Err(CoreError::Cycle(walk)) => {
                prop_assert!(walk.len() > 1 && walk.first() == walk.last());
                prop_assert!(walk.windows(2).all(|pair| edges.contains(&(pair[0], pair[1]))));
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn no_events_break_a_run(
        raw in good_columns(),
        parallelism in 0u32..4,
        batches in vec((0i64..8, vec(any_row(), 0..12)), 0..20),
    ) {
        let graph = raw.build().expect("the columns are a graph");
        let mut kernel = Kernel::new(1, true, 16);
        kernel.add_graph(Arc::new(graph));
        let mut phases = HashMap::new();
        let turn = step(&mut kernel, 0, &[(1, 0, 0, parallelism, NONE, 0), (1, 1, 0, parallelism, NONE, 1)]);
        prop_assert_eq!(illegal(&turn, &mut phases), None);
        let mut now = 0;
        for (elapsed, rows) in batches {
            now += elapsed;
            let restored = Kernel::restore(&kernel.snapshot().unwrap());
            let turn = step(&mut kernel, now, &rows);
            prop_assert_eq!(illegal(&turn, &mut phases), None);
            prop_assert_eq!(kernel.check_invariants(), Ok(()));
            prop_assert_eq!(turn.effects.kind.len(), turn.effects.cause.len());
            let mut restored = restored.unwrap();
            let again = step(&mut restored, now, &rows);
            prop_assert_eq!((&again.effects, &again.transitions), (&turn.effects, &turn.transitions));
            prop_assert_eq!(restored.snapshot(), kernel.snapshot());
            prop_assert!(kernel.next_deadline().is_none_or(|deadline| deadline > now));
        }
    }

    #[test]
    fn any_bytes_restore_or_are_refused(mut bytes in vec(any::<u8>(), 0..64), headed in any::<bool>()) {
        if headed {
            bytes.splice(0..0, *b"FKKS\x03");
        }
        prop_assert!(matches!(Kernel::restore(&bytes), Err(CoreError::BadSnapshot(_))));
    }
}
