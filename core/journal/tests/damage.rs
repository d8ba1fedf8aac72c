//! What opens and what is refused: a torn tail is cut, anything else that is not as it was written is named.

mod simulated_disk;

use std::sync::Arc;

use flyte_kernel_journal::{Disk, Journal, JournalError, PAYLOAD_BYTES_MAX};
use proptest::prelude::*;
use simulated_disk::SimulatedDisk;

const SEGMENT_BYTES: u64 = 8192;
const DATA_START: usize = 4096;
const FIRST: &str = "segment-0000000001.journal";
const SECOND: &str = "segment-0000000002.journal";

fn open(disk: &SimulatedDisk) -> Result<Journal, JournalError> {
    Journal::open_disk(Arc::new(disk.clone()), SEGMENT_BYTES)
}

fn contents(disk: &SimulatedDisk) -> Result<Vec<Vec<u8>>, JournalError> {
    open(disk)?
        .replay(0)?
        .map(|block| block.map(|(_, payload)| payload))
        .collect()
}

/// Bytes that do not compress.
fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn written(commits: &[Vec<Vec<u8>>]) -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let mut journal = open(&disk).unwrap();
    for commit in commits {
        commit.iter().for_each(|payload| {
            assert!(journal.append(payload).unwrap() > journal.last_sequence())
        });
        journal.commit().unwrap();
    }
    disk
}

/// Three segments with two blocks each.
fn three_segments() -> SimulatedDisk {
    let commits: Vec<_> = (1..=6).map(|seed| vec![noise(1800, seed)]).collect();
    let disk = written(&commits);
    assert_eq!(disk.names().unwrap().len(), 3);
    disk
}

/// Open must fail with Corrupt; return the file, the offset and the whole message.
fn refused(disk: &SimulatedDisk) -> (String, u64, String) {
    match contents(disk) {
        Err(error @ JournalError::Corrupt { .. }) => {
            let message = error.to_string();
            let JournalError::Corrupt { file, offset, .. } = error else {
                unreachable!()
            };
            (file.display().to_string(), offset, message)
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn committed_blocks_come_back_in_order_across_segments() {
    let disk = three_segments();
    let journal = open(&disk).unwrap();
    assert_eq!(journal.last_sequence(), 6);
    for after in 0..=6 {
        let blocks: Vec<_> = journal.replay(after).unwrap().map(Result::unwrap).collect();
        let expected: Vec<_> = (after + 1..=6)
            .map(|sequence| (sequence, noise(1800, sequence as u32)))
            .collect();
        assert_eq!(blocks, expected);
    }
    assert!(matches!(journal.replay(7), Err(JournalError::Argument(_))));
}

#[test]
fn a_commit_larger_than_a_segment_gets_one_of_its_own() {
    let commit: Vec<_> = (1..=4).map(|seed| noise(9000, seed)).collect();
    let disk = written(&[
        vec![b"small".to_vec()],
        commit.clone(),
        vec![b"after".to_vec()],
    ]);
    let expected = [vec![b"small".to_vec()], commit, vec![b"after".to_vec()]].concat();
    assert_eq!(contents(&disk).unwrap(), expected);
    assert!(disk.read(SECOND).len() > 36_000);
}

#[test]
fn compressible_payloads_take_less_room() {
    let disk = written(&[vec![b"transition ".repeat(20_000)]]);
    assert!(disk.read(FIRST).len() <= SEGMENT_BYTES as usize);
    assert_eq!(contents(&disk).unwrap(), [b"transition ".repeat(20_000)]);
}

#[test]
fn a_replay_ends_with_what_was_durable_when_it_began() {
    let disk = written(&[vec![b"1".to_vec()], vec![b"2".to_vec()]]);
    let mut journal = open(&disk).unwrap();
    let replay = journal.replay(0).unwrap();
    journal.append(b"3").unwrap();
    journal.commit().unwrap();
    assert_eq!(
        replay.map(|block| block.unwrap().0).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn arguments_out_of_bounds_are_refused() {
    let disk = SimulatedDisk::default();
    let refused = Journal::open_disk(Arc::new(disk.clone()), 4096)
        .err()
        .unwrap();
    assert_eq!(
        refused.to_string(),
        "segment_bytes must be at least 8192, not 4096"
    );
    let mut journal = open(&disk).unwrap();
    assert!(matches!(
        journal.append(&vec![0; PAYLOAD_BYTES_MAX + 1]),
        Err(JournalError::Argument(_))
    ));
    assert!(matches!(
        journal.write_snapshot(1, b""),
        Err(JournalError::Argument(_))
    ));
    assert_eq!(journal.append(b"").unwrap(), 1);
}

#[test]
fn a_flipped_bit_in_any_byte_is_refused_or_changes_nothing() {
    let commits = [
        vec![b"a".to_vec(), noise(700, 1)],
        vec![vec![0; 700]],
        vec![b"x".to_vec(), noise(90, 2), vec![7; 90]],
    ];
    let disk = written(&commits);
    let (bytes, expected) = (disk.read(FIRST), commits.concat());
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    for place in 0..end + 64 {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            let copy = disk.copy();
            copy.replace(FIRST, flipped);
            match contents(&copy) {
                Ok(read) => assert_eq!(
                    read, expected,
                    "bit {bit} of byte {place} was flipped unseen"
                ),
                Err(JournalError::Corrupt { .. } | JournalError::Version { .. }) => {}
                Err(error) => panic!("byte {place}: {error}"),
            }
        }
    }
}

#[test]
fn a_segment_cut_short_or_zeroed_anywhere_in_its_last_commit_opens_without_it() {
    let commits = [
        vec![b"kept".to_vec()],
        vec![noise(600, 1), b"tail".to_vec()],
    ];
    let disk = written(&commits);
    let bytes = disk.read(FIRST);
    let start = DATA_START + 48; // "kept" takes 32 + 8 + 8 bytes
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    for length in start..end {
        let mut zeroed = bytes.clone();
        zeroed[length..].fill(0);
        for torn in [bytes[..length].to_vec(), zeroed] {
            let copy = disk.copy();
            copy.replace(FIRST, torn);
            let mut journal =
                open(&copy).unwrap_or_else(|error| panic!("cut to {length} bytes: {error}"));
            let kept = journal.last_sequence() as usize;
            assert!((1..=2).contains(&kept));
            journal.append(b"next").unwrap();
            journal.commit().unwrap();
            drop(journal);
            let expected = [commits.concat()[..kept].to_vec(), vec![b"next".to_vec()]].concat();
            assert_eq!(contents(&copy).unwrap(), expected);
            assert_eq!(copy.read(FIRST).len(), SEGMENT_BYTES as usize);
        }
    }
}

#[test]
fn damage_before_a_later_commit_names_file_and_offset_and_says_what_to_do() {
    let disk = written(&[
        vec![b"one".to_vec()],
        vec![noise(100, 1)],
        vec![b"three".to_vec()],
    ]);
    let mut bytes = disk.read(FIRST);
    bytes[DATA_START + 48..DATA_START + 64].fill(0);
    disk.replace(FIRST, bytes);
    let (file, offset, message) = refused(&disk);
    assert_eq!((file.as_str(), offset), (FIRST, DATA_START as u64 + 48));
    assert!(
        message.contains("the later commit at byte 4288"),
        "{message}"
    );
    assert!(
        message.contains("`truncate -s 4144 segment-0000000001.journal`"),
        "{message}"
    );

    disk.replace(FIRST, disk.read(FIRST)[..4144].to_vec());
    assert_eq!(
        contents(&disk).unwrap(),
        [b"one".to_vec()],
        "the advice does not work"
    );
}

#[test]
fn a_hole_over_whole_commits_is_refused_when_another_follows() {
    let disk = written(&[
        vec![noise(600, 1)],
        vec![noise(600, 2)],
        vec![noise(600, 3)],
    ]);
    let mut bytes = disk.read(FIRST);
    bytes[DATA_START + 640..DATA_START + 1280].fill(0);
    disk.replace(FIRST, bytes);
    assert_eq!(refused(&disk).1, DATA_START as u64 + 640);
}

#[test]
fn a_block_of_another_journal_inside_a_torn_payload_is_not_taken_for_a_commit() {
    let other = written(&[vec![noise(80, 1)], vec![noise(80, 2)], vec![noise(80, 3)]]);
    let inner = other.read(FIRST)[DATA_START..DATA_START + 384].to_vec();
    let disk = written(&[
        vec![b"kept".to_vec()],
        vec![[noise(600, 4), inner, noise(600, 5)].concat()],
    ]);
    let mut bytes = disk.read(FIRST);
    bytes[DATA_START + 1024..].fill(0);
    disk.replace(FIRST, bytes);
    assert_eq!(contents(&disk).unwrap(), [b"kept".to_vec()]);
}

#[test]
fn missing_and_foreign_segments_are_refused() {
    for missing in [FIRST, SECOND] {
        let disk = three_segments();
        disk.remove(missing).unwrap();
        let (file, _, message) = refused(&disk);
        assert_eq!(file, missing);
        assert!(message.contains("the file is missing"), "{message}");
    }
    let disk = three_segments();
    disk.replace(SECOND, three_segments().read(SECOND));
    assert!(refused(&disk).2.contains("it belongs to another journal"));
    let disk = three_segments();
    disk.replace(SECOND, disk.read(FIRST));
    assert!(
        refused(&disk)
            .2
            .contains("its header says that it is segment 1")
    );
}

#[test]
fn a_segment_that_ends_before_the_next_begins_is_refused() {
    let disk = three_segments();
    let mut bytes = disk.read(FIRST);
    let second_block = DATA_START + 32 + 1800 + 8;
    bytes[second_block..].fill(0);
    disk.replace(FIRST, bytes);
    let (file, offset, message) = refused(&disk);
    assert_eq!((file.as_str(), offset), (FIRST, second_block as u64));
    assert!(
        message.contains("nothing stands where block 2 should be"),
        "{message}"
    );
}

#[test]
fn a_gap_in_the_sequences_is_refused() {
    let disk = written(&[
        vec![b"one".to_vec()],
        vec![b"two".to_vec()],
        vec![b"six".to_vec()],
    ]);
    let mut bytes = disk.read(FIRST);
    bytes.copy_within(DATA_START + 96..DATA_START + 144, DATA_START + 48);
    disk.replace(FIRST, bytes);
    let (_, offset, message) = refused(&disk);
    assert_eq!(offset, DATA_START as u64 + 48);
    assert!(
        message.contains("block 3 stands where block 2 should be"),
        "{message}"
    );
}

#[test]
fn another_format_version_is_named() {
    let disk = written(&[vec![b"a".to_vec()]]);
    let mut bytes = disk.read(FIRST);
    bytes[8] = 9;
    disk.replace(FIRST, bytes);
    let error = contents(&disk).unwrap_err();
    assert!(
        matches!(
            error,
            JournalError::Version {
                found: 9,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("has journal format 9, this version reads format 1")
    );
}

#[test]
fn unfinished_files_are_removed_and_unknown_ones_left_alone() {
    let disk = written(&[vec![b"a".to_vec()]]);
    disk.replace("segment-0000000002.journal.partial", vec![1]);
    disk.replace("notes.txt", vec![2]);
    assert_eq!(contents(&disk).unwrap(), [b"a".to_vec()]);
    assert_eq!(disk.names().unwrap(), ["notes.txt", FIRST]);
}

mod snapshots {
    use super::*;

    fn name(sequence: u64) -> String {
        format!("snapshot-{sequence:020}.state")
    }

    fn with_snapshots(payloads: &[&[u8]]) -> SimulatedDisk {
        let disk = three_segments();
        let mut journal = open(&disk).unwrap();
        for (sequence, payload) in (1..).zip(payloads) {
            journal.write_snapshot(sequence, payload).unwrap();
        }
        disk
    }

    #[test]
    fn the_newest_two_are_kept() {
        let disk = with_snapshots(&[b"one", b"two", b"three"]);
        let names = disk.names().unwrap();
        let kept: Vec<_> = names
            .iter()
            .filter(|name| name.starts_with("snapshot"))
            .collect();
        assert_eq!(kept, [&name(2), &name(3)]);
        assert_eq!(
            open(&disk).unwrap().load_snapshot().unwrap(),
            Some((3, b"three".to_vec()))
        );
    }

    #[test]
    fn large_and_empty_ones_come_back() {
        let large = [noise(3 << 20, 1), vec![0; 1 << 20]].concat();
        let disk = with_snapshots(&[&large]);
        assert_eq!(
            open(&disk).unwrap().load_snapshot().unwrap(),
            Some((1, large))
        );
        let disk = with_snapshots(&[b""]);
        assert_eq!(
            open(&disk).unwrap().load_snapshot().unwrap(),
            Some((1, Vec::new()))
        );
        assert_eq!(
            open(&three_segments()).unwrap().load_snapshot().unwrap(),
            None
        );
    }

    #[test]
    fn one_with_any_bit_flipped_or_cut_short_gives_way_to_the_one_before() {
        let disk = with_snapshots(&[b"one", b"two, which is newer"]);
        let bytes = disk.read(&name(2));
        let fall_back = |damaged: Vec<u8>| {
            let copy = disk.copy();
            copy.replace(&name(2), damaged);
            open(&copy).unwrap().load_snapshot().unwrap().unwrap().0
        };
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            let unused = (36..40).contains(&place);
            assert_eq!(
                fall_back(flipped),
                if unused { 2 } else { 1 },
                "byte {place}"
            );
            assert_eq!(fall_back(bytes[..place].to_vec()), 1);
        }
    }

    #[test]
    fn blocks_before_the_newest_are_verified_by_replay_only() {
        let disk = with_snapshots(&[b"", b"", b"", b"", b"five"]);
        let mut bytes = disk.read(FIRST);
        bytes[DATA_START + 100] ^= 1;
        disk.replace(FIRST, bytes);
        let journal = open(&disk).unwrap();
        assert_eq!(
            journal
                .replay(5)
                .unwrap()
                .map(|block| block.unwrap().0)
                .collect::<Vec<_>>(),
            [6]
        );
        let mut replay = journal.replay(0).unwrap();
        assert!(matches!(
            replay.next(),
            Some(Err(JournalError::Corrupt { offset: 4096, .. }))
        ));
        assert!(replay.next().is_none());
    }

    #[test]
    fn one_that_knows_more_than_the_segments_hold_is_refused() {
        let disk = with_snapshots(&[b"", b"", b"", b"", b"five"]);
        disk.remove("segment-0000000003.journal").unwrap();
        let (file, _, message) = refused(&disk);
        assert_eq!(file, name(5));
        assert!(
            message.contains("the segments end with block 4"),
            "{message}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_to_acknowledged_bytes_is_refused_or_changes_nothing(
        commits in proptest::collection::vec(proptest::collection::vec(any::<Vec<u8>>(), 1..4), 1..5),
        place in any::<prop::sample::Index>(), damage in proptest::collection::vec(1..=255u8, 1..9),
    ) {
        let disk = written(&commits);
        let mut bytes = disk.read(FIRST);
        let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
        let start = DATA_START + place.index(end - DATA_START);
        for (byte, change) in bytes[start..end].iter_mut().zip(&damage) {
            // A byte that turns into zero may be one that a crash kept from being written.
            *byte = if *byte == *change { *byte } else { *byte ^ change };
        }
        disk.replace(FIRST, bytes);
        match contents(&disk) {
            Ok(read) => prop_assert_eq!(read, commits.concat()),
            Err(error) => prop_assert!(matches!(error, JournalError::Corrupt { .. }), "{}", error),
        }
    }
}
