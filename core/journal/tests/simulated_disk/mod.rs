//! A disk in memory that can fail at any operation, lose what was not synced and change behind one's back.

#![allow(dead_code)] // each test crate uses its part

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use flyte_kernel_journal::{Disk, DiskFile};

const SECTOR_BYTES: usize = 512;

/// What happens instead of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No space; a write gets at most this many bytes through first. Operations that need no space are left alone.
    Full(usize),
    /// The device fails; a sync then forgets what it was to write.
    Broken,
}

/// One file, as programs see it and as it would be after a power cut.
#[derive(Clone, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Default)]
struct State {
    contents: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    sync_fails: bool,
}

/// Clones share the disk.
#[derive(Clone, Default)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

struct SimulatedFile {
    disk: SimulatedDisk,
    id: usize,
}

impl SimulatedDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Make operations fail, counted from now on.
    pub(crate) fn arm(&self, faults: &[(u64, Fault)]) {
        let mut state = self.state();
        let now = state.operations;
        state.faults = faults
            .iter()
            .map(|&(operation, fault)| (now + operation, fault))
            .collect();
    }

    pub(crate) fn faults_left(&self) -> usize {
        self.state().faults.len()
    }

    pub(crate) fn fail_next_sync(&self) {
        self.state().sync_fails = true;
    }

    /// What a file holds.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.contents[state.names[name]].seen.clone()
    }

    /// Put other bytes in a file's place, as rot or a person may.
    pub(crate) fn replace(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        let id = state.contents.len();
        state.contents.push(Content {
            durable: bytes.clone(),
            seen: bytes,
            dirty: BTreeSet::new(),
        });
        state.names.insert(name.into(), id);
        state.durable_names.insert(name.into(), id);
    }

    /// A second disk with the same files.
    pub(crate) fn copy(&self) -> Self {
        let (copy, state) = (Self::default(), self.state());
        for (name, &id) in &state.names {
            copy.replace(name, state.contents[id].seen.clone());
        }
        copy
    }

    /// Cut the power: each sector and each set of names that was not synced is kept or lost as the seed has it.
    pub(crate) fn crash(&self, seed: u64) {
        let mut random = seed | 1;
        self.cut_power(|| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random.is_multiple_of(2)
        });
    }

    pub(crate) fn crash_losing_all_unsynced(&self) {
        self.cut_power(|| false);
    }

    fn cut_power(&self, mut keeps: impl FnMut() -> bool) {
        let mut state = self.state();
        for content in &mut state.contents {
            for sector in std::mem::take(&mut content.dirty) {
                if keeps() {
                    content.persist(sector);
                }
            }
            content.seen = content.durable.clone();
        }
        if keeps() {
            state.durable_names = state.names.clone();
        }
        state.names = state.durable_names.clone();
    }
}

impl Content {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[offset..end].copy_from_slice(bytes);
        self.dirty
            .extend(offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    fn persist(&mut self, sector: usize) {
        let range = sector * SECTOR_BYTES..((sector + 1) * SECTOR_BYTES).min(self.seen.len());
        if self.durable.len() < range.end {
            self.durable.resize(range.end, 0);
        }
        self.durable[range.clone()].copy_from_slice(&self.seen[range]);
    }
}

impl State {
    /// Count an operation that can fail; return the fault that is due.
    fn next_fault(&mut self) -> Option<Fault> {
        self.operations += 1;
        self.faults.remove(&(self.operations - 1))
    }

    fn check(&mut self, needs_space: bool) -> io::Result<()> {
        match self.next_fault() {
            Some(Fault::Broken) => Err(io::Error::other("the device failed")),
            Some(Fault::Full(_)) if needs_space => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn id(&self, name: &str) -> io::Result<usize> {
        self.names
            .get(name)
            .copied()
            .ok_or(io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimulatedDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.check(true)?;
        let id = state.contents.len();
        state.contents.push(Content::default());
        state.names.insert(name.into(), id);
        Ok(Box::new(SimulatedFile {
            disk: self.clone(),
            id,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let id = self.state().id(name)?;
        Ok(Box::new(SimulatedFile {
            disk: self.clone(),
            id,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.check(true)?;
        let id = state.id(from)?;
        state.names.remove(from);
        state.names.insert(to.into(), id);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.check(false)?;
        state.id(name)?;
        state.names.remove(name);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        state.check(false)?;
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(name)
    }
}

impl DiskFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().contents[self.id].seen.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        let seen = &state.contents[self.id].seen;
        let from = (offset as usize).min(seen.len());
        let count = buffer.len().min(seen.len() - from);
        buffer[..count].copy_from_slice(&seen[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        match state.next_fault() {
            None => state.contents[self.id].write(offset as usize, bytes),
            Some(Fault::Broken) => return Err(io::Error::other("the device failed")),
            Some(Fault::Full(room)) => {
                let count = room.min(bytes.len());
                state.contents[self.id].write(offset as usize, &bytes[..count]);
                return if count > 0 && count < bytes.len() {
                    // What follows a short write is the error itself.
                    let next = state.operations;
                    state.faults.insert(next, Fault::Full(0));
                    Ok(count)
                } else {
                    Err(io::ErrorKind::StorageFull.into())
                };
            }
        }
        Ok(bytes.len())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check(true)?;
        let content = &mut state.contents[self.id];
        if content.seen.len() < length as usize {
            content.seen.resize(length as usize, 0);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let fails = std::mem::take(&mut state.sync_fails) || state.check(false).is_err();
        let content = &mut state.contents[self.id];
        let dirty = std::mem::take(&mut content.dirty);
        if fails {
            return Err(io::Error::other("the device failed"));
        }
        for sector in dirty {
            content.persist(sector);
        }
        let length = content.seen.len();
        content.durable.resize(length, 0);
        Ok(())
    }
}
