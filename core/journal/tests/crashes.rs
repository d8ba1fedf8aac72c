//! Crashes, failing syncs and full disks at every moment: what was acknowledged is there, nothing else has crept in.
//!
//! The disk keeps apart what programs see and what would survive a power cut. A crash keeps any subset of the sectors
//! written since the last sync; a failed sync forgets that they were to be written, as operating systems do.

mod simulated_disk;

use std::sync::Arc;

use flyte_kernel_journal::{Journal, JournalError};
use proptest::prelude::*;
use simulated_disk::{Fault, SimulatedDisk};

const SEGMENT_BYTES: u64 = 16 * 1024;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<u8>),
    Commit,
    Rollback,
    /// The process dies; what it wrote is still in the operating system's memory.
    Kill,
    /// The power goes; the seed chooses what had reached the disk.
    Crash(u64),
}

/// The journal beside what it must hold.
struct World {
    disk: SimulatedDisk,
    journal: Option<Journal>,
    durable: Vec<Vec<u8>>,
    /// Appended since; a prefix of it may be there after a crash.
    pending: Vec<Vec<u8>>,
    /// Rolled back while the disk failed, so that it could not be erased at once.
    ghosts: Vec<Vec<u8>>,
}

impl World {
    fn new(faults: &[(u64, Fault)]) -> Self {
        let disk = SimulatedDisk::default();
        disk.arm(faults);
        let mut world = World {
            disk,
            journal: None,
            durable: vec![],
            pending: vec![],
            ghosts: vec![],
        };
        world.open();
        world
    }

    fn open(&mut self) {
        self.journal = None;
        let journal = loop {
            match Journal::open_disk(Arc::new(self.disk.clone()), SEGMENT_BYTES) {
                Ok(journal) => break journal,
                Err(
                    JournalError::Full { .. }
                    | JournalError::Io { .. }
                    | JournalError::Poisoned { .. },
                ) => {}
                Err(error) => panic!("an honest crash was taken for damage: {error}"),
            }
        };
        let found = contents(&journal);
        let extra = found
            .strip_prefix(&self.durable[..])
            .expect("acknowledged blocks are lost or changed");
        assert!(
            self.pending.starts_with(extra) || self.ghosts.starts_with(extra),
            "blocks that nobody committed have appeared"
        );
        assert_eq!(journal.last_sequence(), found.len() as u64);
        self.durable = found;
        self.pending.clear();
        self.ghosts.clear();
        self.journal = Some(journal);
    }

    fn take(&mut self, step: &Step) {
        let journal = self.journal.as_mut().unwrap();
        match step {
            Step::Append(payload) => {
                journal.append(payload).unwrap();
                self.pending.push(payload.clone());
            }
            Step::Commit => match journal.commit() {
                Ok(()) => {
                    self.durable.append(&mut self.pending);
                    self.ghosts.clear();
                }
                Err(JournalError::Full { .. }) => {}
                Err(_) => self.open(),
            },
            Step::Rollback => {
                let faults = self.disk.faults_left();
                match journal.rollback() {
                    Ok(()) if self.disk.faults_left() == faults => self.ghosts.clear(),
                    Ok(()) => self.ghosts = self.pending.clone(),
                    Err(_) => return self.open(),
                }
                self.pending.clear();
            }
            Step::Kill => self.open(),
            Step::Crash(seed) => {
                self.journal = None;
                self.disk.crash(*seed);
                self.open();
            }
        }
        assert_eq!(contents(self.journal.as_ref().unwrap()), self.durable);
    }
}

fn contents(journal: &Journal) -> Vec<Vec<u8>> {
    journal
        .replay(0)
        .unwrap()
        .map(|block| block.unwrap().1)
        .collect()
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..40),
        4 => proptest::collection::vec(any::<u8>(), 300..1500),
        2 => proptest::collection::vec(Just(0u8), 0..3000),
        1 => proptest::collection::vec(any::<u8>(), 5000..9000),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => payload().prop_map(Step::Append),
        5 => Just(Step::Commit),
        1 => Just(Step::Rollback),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(Step::Crash),
    ]
}

fn faults() -> impl Strategy<Value = Vec<(u64, Fault)>> {
    let fault = prop_oneof![
        3 => (0..2000usize).prop_map(Fault::Full),
        1 => Just(Fault::Broken),
    ];
    proptest::collection::vec((0..120u64, fault), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_blocks_survive_and_no_others_appear(
        steps in proptest::collection::vec(step(), 1..50), faults in faults(), seed in any::<u64>(),
    ) {
        let mut world = World::new(&faults);
        for step in &steps {
            world.take(step);
        }
        world.take(&Step::Crash(seed));
    }
}

/// Two commits that fill a segment, so that the third begins another, with one fault at the given operation.
fn with_a_fault_at(operation: u64, fault: Fault) -> bool {
    let mut world = World::new(&[(operation, fault)]);
    for round in 0..4u8 {
        world.take(&Step::Append(vec![round; 40]));
        world.take(&Step::Append(
            (0..7000u32)
                .map(|index| ((index * index * (u32::from(round) + 3)) >> 5) as u8)
                .collect(),
        ));
        world.take(&Step::Commit);
        world.take(&Step::Commit); // repeats the one that failed, or does nothing
        if round == 1 {
            world.take(&Step::Append(b"dropped".to_vec()));
            world.take(&Step::Rollback);
        }
    }
    if fault != Fault::Broken {
        assert_eq!(world.durable.len(), 8, "a commit was not repeatable");
    }
    world.take(&Step::Crash(operation));
    world.disk.faults_left() == 0
}

#[test]
fn every_single_operation_may_fail() {
    for fault in [Fault::Full(0), Fault::Full(700), Fault::Broken] {
        let count = (0..)
            .take_while(|&operation| with_a_fault_at(operation, fault))
            .count();
        assert!(count > 15, "only {count} operations were made to fail");
    }
}

#[test]
fn a_failed_sync_stops_the_journal_until_it_is_opened_again() {
    let disk = SimulatedDisk::default();
    let mut journal = Journal::open_disk(Arc::new(disk.clone()), SEGMENT_BYTES).unwrap();
    journal.append(b"first").unwrap();
    journal.commit().unwrap();
    journal.append(b"second").unwrap();
    disk.fail_next_sync();
    for _ in 0..2 {
        let error = journal.commit().unwrap_err();
        assert!(matches!(error, JournalError::Poisoned { .. }), "{error}");
    }
    assert!(journal.append(b"third").is_err());
    assert_eq!(journal.last_sequence(), 1);
    drop(journal);

    // The operating system still shows the second block, though it will never write it by itself.
    let journal = Journal::open_disk(Arc::new(disk.clone()), SEGMENT_BYTES).unwrap();
    assert_eq!(contents(&journal), [b"first".to_vec(), b"second".to_vec()]);
    drop(journal);
    disk.crash_losing_all_unsynced();
    let journal = Journal::open_disk(Arc::new(disk), SEGMENT_BYTES).unwrap();
    assert_eq!(contents(&journal), [b"first".to_vec(), b"second".to_vec()]);
}

#[test]
fn a_half_written_block_that_was_rolled_back_never_returns() {
    let disk = SimulatedDisk::default();
    let mut journal = Journal::open_disk(Arc::new(disk.clone()), SEGMENT_BYTES).unwrap();
    journal.append(b"dropped 1").unwrap();
    journal.append(b"dropped 2").unwrap();
    journal.append(&[7; 30]).unwrap();
    disk.arm(&[(0, Fault::Full(120))]);
    assert!(matches!(journal.commit(), Err(JournalError::Full { .. })));
    journal.rollback().unwrap();
    journal.append(b"kept, 1st").unwrap();
    journal.commit().unwrap();
    drop(journal);
    let journal = Journal::open_disk(Arc::new(disk), SEGMENT_BYTES).unwrap();
    assert_eq!(contents(&journal), [b"kept, 1st".to_vec()]);
}
