//! What the edges of a graph say about order: levels, longest paths, what a node needs and what needs it.

use crate::error::CoreError;
use crate::graph::{Graph, NONE, NodeColumns};

impl Graph {
    /// Every edge as source and target, by ascending source.
    pub fn edges(&self) -> (Vec<u32>, Vec<u32>) {
        let mut source = Vec::with_capacity(self.edge_count());
        let mut target = Vec::with_capacity(self.edge_count());
        for node in 0..self.node_count() {
            let downstream = self.downstream(node);
            source.resize(source.len() + downstream.len(), node);
            target.extend_from_slice(downstream);
        }
        (source, target)
    }

    /// The nodes so that each comes after those it waits for: level by level, ascending within one.
    pub fn topological_order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.node_count())
            .filter(|node| self.indegree(*node) == 0)
            .collect();
        let mut pending = self.indegree.clone();
        let mut first = 0;
        while first < order.len() {
            let last = order.len();
            for place in first..last {
                for &next in self.downstream(order[place]) {
                    pending[next as usize] -= 1;
                    if pending[next as usize] == 0 {
                        order.push(next);
                    }
                }
            }
            order[last..].sort_unstable();
            first = last;
        }
        order
    }

    /// How many edges the longest way from a node without upstreams to each node has.
    pub fn levels(&self) -> Vec<u32> {
        let mut levels = vec![0u32; self.node_count() as usize];
        for node in self.topological_order() {
            let level = levels[node as usize] + 1;
            for &next in self.downstream(node) {
                levels[next as usize] = levels[next as usize].max(level);
            }
        }
        levels
    }

    /// The way through the graph that weighs most, node by node, and its weight; a node without weights weighs 1.
    pub fn critical_path(&self, weights: &[f64]) -> Result<(Vec<u32>, f64), CoreError> {
        let nodes = self.node_count() as usize;
        if !weights.is_empty() && weights.len() != nodes {
            return Err(CoreError::ColumnLength {
                column: "weights",
                found: weights.len(),
                expected: nodes,
            });
        }
        if let Some(node) = weights.iter().position(|weight| weight.is_nan()) {
            return Err(CoreError::NoWeight { node: node as u32 });
        }
        let weight = |node: u32| weights.get(node as usize).copied().unwrap_or(1.0);
        let mut before = vec![0.0f64; nodes];
        let mut upstream = vec![NONE; nodes];
        let mut heaviest: Option<(u32, f64)> = None;
        for node in self.topological_order() {
            let total = before[node as usize] + weight(node);
            if heaviest.is_none_or(|(_, most)| total > most) {
                heaviest = Some((node, total));
            }
            for &next in self.downstream(node) {
                if upstream[next as usize] == NONE || total > before[next as usize] {
                    before[next as usize] = total;
                    upstream[next as usize] = node;
                }
            }
        }
        let Some((mut node, total)) = heaviest else {
            return Ok((Vec::new(), 0.0));
        };
        let mut path = vec![node];
        while upstream[node as usize] != NONE {
            node = upstream[node as usize];
            path.push(node);
        }
        path.reverse();
        Ok((path, total))
    }

    /// The nodes that wait for a node, directly or not, ascending.
    pub fn descendants_of(&self, node: u32) -> Vec<u32> {
        reached(self.node_count(), node, |node| {
            self.downstream(node).to_vec()
        })
    }

    /// The nodes that a node waits for, directly or not, ascending.
    pub fn ancestors_of(&self, node: u32) -> Vec<u32> {
        let mut upstream: Vec<Vec<u32>> = vec![Vec::new(); self.node_count() as usize];
        for source in 0..self.node_count() {
            for &target in self.downstream(source) {
                upstream[target as usize].push(source);
            }
        }
        reached(self.node_count(), node, |node| {
            upstream[node as usize].clone()
        })
    }

    /// The graph of some nodes and the edges between them; they are numbered in the order given.
    pub fn subgraph(&self, nodes: &[u32]) -> Result<Graph, CoreError> {
        let mut place = vec![NONE; self.node_count() as usize];
        for (index, &node) in (0u32..).zip(nodes) {
            match place.get_mut(node as usize) {
                Some(taken) if *taken == NONE => *taken = index,
                _ => return Err(CoreError::NoSubgraph { node }),
            }
        }
        let (mut source, mut target) = (Vec::new(), Vec::new());
        for &node in nodes {
            for &next in self.downstream(node) {
                if place[next as usize] != NONE {
                    source.push(place[node as usize]);
                    target.push(place[next as usize]);
                }
            }
        }
        let mut scope = Vec::with_capacity(nodes.len());
        for &node in nodes {
            let around = self.scope(node);
            scope.push(place.get(around as usize).copied().unwrap_or(NONE));
            if around != NONE && scope.last() == Some(&NONE) {
                return Err(CoreError::NoSubgraph { node });
            }
        }
        let column =
            |of: &dyn Fn(u32) -> i64| nodes.iter().map(|node| of(*node)).collect::<Vec<i64>>();
        let kind: Vec<u8> = nodes.iter().map(|node| self.kind(*node) as u8).collect();
        let attempts_max: Vec<u16> = nodes.iter().map(|node| self.attempts_max(*node)).collect();
        let failure_handler: Vec<bool> = nodes
            .iter()
            .map(|node| self.is_failure_handler(*node))
            .collect();
        let columns = NodeColumns {
            kind: &kind,
            scope: &scope,
            attempts_max: &attempts_max,
            execution_timeout: &column(&|node| self.execution_timeout(node)),
            active_timeout: &column(&|node| self.active_timeout(node)),
            failure_handler: &failure_handler,
        };
        Graph::from_edges(nodes.len() as u32, &source, &target, columns)
    }
}

fn reached(nodes: u32, from: u32, next: impl Fn(u32) -> Vec<u32>) -> Vec<u32> {
    let mut seen = vec![false; nodes as usize];
    let mut found = next(from);
    let mut open = 0;
    found.retain(|node| !std::mem::replace(&mut seen[*node as usize], true));
    while open < found.len() {
        for node in next(found[open]) {
            if !std::mem::replace(&mut seen[node as usize], true) {
                found.push(node);
            }
        }
        open += 1;
    }
    found.sort_unstable();
    found
}
