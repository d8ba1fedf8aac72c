//! The promise under a hostile disk: what `commit` acknowledged reads back as it was, or `open` says so.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use flyte_kernel_journal::{Disk, DiskFile, Journal, JournalError};
use proptest::prelude::*;

type Files = Arc<Mutex<BTreeMap<String, Arc<Mutex<Vec<u8>>>>>>;

/// A disk in memory; it takes `room` more writes or files and then is full.
#[derive(Clone, Default)]
struct MemoryDisk {
    files: Files,
    room: Arc<Mutex<Option<u32>>>,
}

struct MemoryFile {
    content: Arc<Mutex<Vec<u8>>>,
    room: Arc<Mutex<Option<u32>>>,
}

fn take(room: &Mutex<Option<u32>>) -> io::Result<()> {
    match &mut *room.lock().unwrap() {
        Some(0) => Err(io::ErrorKind::StorageFull.into()),
        Some(left) => {
            *left -= 1;
            Ok(())
        }
        None => Ok(()),
    }
}

impl Disk for MemoryDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().unwrap().keys().cloned().collect())
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        take(&self.room)?;
        self.files
            .lock()
            .unwrap()
            .insert(name.into(), Arc::default());
        self.open(name)
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let content = self
            .files
            .lock()
            .unwrap()
            .get(name)
            .cloned()
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile {
            content,
            room: self.room.clone(),
        }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        let content = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.into(), content);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.files
            .lock()
            .unwrap()
            .remove(name)
            .map(|_| ())
            .ok_or(io::ErrorKind::NotFound.into())
    }
    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(name)
    }
}

impl DiskFile for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.content.lock().unwrap().len() as u64)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let content = self.content.lock().unwrap();
        let from = (offset as usize).min(content.len());
        let count = buffer.len().min(content.len() - from);
        buffer[..count].copy_from_slice(&content[from..from + count]);
        Ok(count)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        take(&self.room)?;
        let mut content = self.content.lock().unwrap();
        let end = offset as usize + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[offset as usize..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        take(&self.room)?;
        self.content.lock().unwrap().resize(length as usize, 0);
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl MemoryDisk {
    fn copy(&self) -> Self {
        let files = self.files.lock().unwrap();
        let copied = files.iter().map(|(name, file)| {
            (
                name.clone(),
                Arc::new(Mutex::new(file.lock().unwrap().clone())),
            )
        });
        MemoryDisk {
            files: Arc::new(Mutex::new(copied.collect())),
            room: Arc::default(),
        }
    }
    fn segment(&self) -> Arc<Mutex<Vec<u8>>> {
        let files = self.files.lock().unwrap();
        files
            .iter()
            .filter(|(name, _)| name.starts_with("segment-"))
            .next_back()
            .unwrap()
            .1
            .clone()
    }
    fn journal(&self) -> Result<Journal, JournalError> {
        Journal::open_disk(Arc::new(self.clone()), 4096)
    }
}

fn read_all(journal: &Journal) -> Result<Vec<Vec<u8>>, JournalError> {
    journal
        .replay(0)
        .map(|block| block.map(|(_, payload)| payload))
        .collect()
}

/// Commits groups of payloads; returns all of them, and how long the segment was before and after the last group.
fn written(groups: &[Vec<Vec<u8>>]) -> (MemoryDisk, Vec<Vec<u8>>) {
    let disk = MemoryDisk::default();
    let mut journal = disk.journal().unwrap();
    for group in groups {
        group.iter().for_each(|payload| {
            journal.append(payload).unwrap();
        });
        journal.commit().unwrap();
    }
    drop(journal);
    (disk, groups.concat())
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let (disk, payloads) = written(&[
        vec![b"a".to_vec(), vec![7; 9000]],
        vec![Vec::new()],
        vec![b"last".to_vec()],
    ]);
    let journal = disk.journal().unwrap();
    assert_eq!(journal.last_sequence(), 4);
    assert_eq!(read_all(&journal).unwrap(), payloads);
    assert_eq!(
        journal
            .replay(3)
            .map(|block| block.unwrap().0)
            .collect::<Vec<_>>(),
        [4]
    );
}

#[test]
fn uncommitted_blocks_are_not_there() {
    let (disk, payloads) = written(&[vec![b"a".to_vec()]]);
    let mut journal = disk.journal().unwrap();
    assert_eq!(journal.append(b"b").unwrap(), 2);
    drop(journal);
    assert_eq!(read_all(&disk.journal().unwrap()).unwrap(), payloads);
}

#[test]
fn rollback_gives_the_sequences_again() {
    let (disk, _) = written(&[vec![b"a".to_vec()]]);
    let mut journal = disk.journal().unwrap();
    journal.append(b"dropped").unwrap();
    journal.rollback();
    assert_eq!(journal.append(b"kept").unwrap(), 2);
    journal.commit().unwrap();
    assert_eq!(
        read_all(&journal).unwrap(),
        [b"a".to_vec(), b"kept".to_vec()]
    );
}

#[test]
fn a_missing_segment_is_refused() {
    let (disk, _) = written(&[
        vec![vec![1; 3000]],
        vec![vec![2; 3000]],
        vec![(0..3000u32).map(|i| (i * i) as u8).collect()],
    ]);
    let mut journal = disk.journal().unwrap();
    for round in 0..20u32 {
        journal
            .append(
                &(0..900u32)
                    .map(|i| (i * (round + 3) * 7919 >> 3) as u8)
                    .collect::<Vec<_>>(),
            )
            .unwrap();
        journal.commit().unwrap();
    }
    drop(journal);
    assert!(disk.names().unwrap().len() > 2, "{:?}", disk.names());
    disk.remove("segment-0000000002.journal").unwrap();
    let error = disk.journal().err().unwrap().to_string();
    assert!(
        error.contains("segment-0000000002.journal") && error.contains("missing"),
        "{error}"
    );
}

#[test]
fn snapshots_come_back_and_a_damaged_one_gives_way_to_the_one_before() {
    let (disk, _) = written(&[vec![b"a".to_vec()], vec![b"b".to_vec()]]);
    let journal = disk.journal().unwrap();
    assert_eq!(journal.load_snapshot().unwrap(), None);
    journal.write_snapshot(1, b"one").unwrap();
    journal.write_snapshot(2, b"two").unwrap();
    assert_eq!(journal.load_snapshot().unwrap(), Some((2, b"two".to_vec())));
    let newest = disk.files.lock().unwrap()["snapshot-00000000000000000002.state"].clone();
    newest.lock().unwrap()[41] ^= 1;
    assert_eq!(journal.load_snapshot().unwrap(), Some((1, b"one".to_vec())));
    assert!(journal.write_snapshot(3, b"ahead").is_err());
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        proptest::collection::vec(any::<u8>(), 300..1500),
        proptest::collection::vec(Just(0u8), 0..1500),
    ]
}

fn groups() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    proptest::collection::vec(proptest::collection::vec(payload(), 1..4), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_flipped_bit_is_refused_or_changes_nothing(groups in groups(), bit in 0..8u32, seed in any::<u64>()) {
        let (disk, payloads) = written(&groups);
        let length = disk.segment().lock().unwrap().len();
        // Every 13th byte from a random start: over the cases every kind of byte is hit.
        for place in ((seed % 13) as usize..length).step_by(13) {
            let copy = disk.copy();
            copy.segment().lock().unwrap()[place] ^= 1 << bit;
            if let Ok(read) = copy.journal().and_then(|journal| read_all(&journal)) {
                prop_assert_eq!(&read, &payloads, "byte {} flipped in silence", place);
            }
        }
    }

    #[test]
    fn a_torn_commit_leaves_what_was_acknowledged_and_at_most_a_part_of_it(
        before in groups(), torn in proptest::collection::vec(payload(), 1..4), lost in any::<u64>(), next in payload(),
    ) {
        let (disk, acknowledged) = written(&before);
        let old = disk.segment().lock().unwrap().clone();
        let old_name = disk.names().unwrap().last().unwrap().clone();
        let mut journal = disk.journal().unwrap();
        torn.iter().for_each(|payload| { journal.append(payload).unwrap(); });
        journal.commit().unwrap();
        drop(journal);
        // Sectors of the commit that never reached the disk keep what was there before.
        let same_file = *disk.names().unwrap().last().unwrap() == old_name;
        let file = disk.segment();
        let mut content = file.lock().unwrap();
        for sector in 0..content.len() / 512 {
            if lost >> (sector % 64) & 1 == 1 {
                let range = sector * 512..(sector + 1) * 512;
                let header = if sector == 0 && !same_file { 64 } else { 0 };
                for at in range.skip(header) {
                    content[at] = if same_file { old.get(at).copied().unwrap_or(0) } else { 0 };
                }
            }
        }
        drop(content);
        let mut journal = disk.journal().unwrap();
        let read = read_all(&journal).unwrap();
        let all = [acknowledged.clone(), torn].concat();
        prop_assert!(read.len() >= acknowledged.len() && read[..] == all[..read.len()]);
        journal.append(&next).unwrap();
        journal.commit().unwrap();
        drop(journal);
        let again = read_all(&disk.journal().unwrap()).unwrap();
        prop_assert_eq!(again, [read, vec![next]].concat());
    }

    #[test]
    fn a_full_disk_loses_nothing_acknowledged_and_the_journal_goes_on(
        groups in proptest::collection::vec(proptest::collection::vec(payload(), 1..4), 2..8), room in 0..12u32,
    ) {
        let disk = MemoryDisk::default();
        let mut journal = disk.journal().unwrap();
        *disk.room.lock().unwrap() = Some(room);
        let mut acknowledged = Vec::new();
        for group in &groups {
            for payload in group {
                journal.append(payload).unwrap();
            }
            if let Err(error) = journal.commit() {
                prop_assert!(matches!(error, JournalError::Full { .. }), "{}", error);
                prop_assert_eq!(&read_all(&disk.copy().journal().unwrap()).unwrap(), &acknowledged);
                *disk.room.lock().unwrap() = None;
                journal.commit().unwrap();
            }
            acknowledged.extend(group.iter().cloned());
        }
        drop(journal);
        prop_assert_eq!(read_all(&disk.journal().unwrap()).unwrap(), acknowledged);
    }
}
