//! The writer: buffers blocks, makes them durable in groups.

use std::path::Path;
use std::sync::Arc;

use crate::block;
use crate::disk::{Disk, FolderDisk, write_all_at, write_zeros};
use crate::error::{JournalError, Result};
use crate::reader::FIRST;
use crate::recovery::recover;
use crate::replay::Replay;
use crate::segment::Segment;
use crate::snapshot;

/// How long segments are unless asked otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// The shortest segments that can be asked for.
pub const SEGMENT_BYTES_MIN: u64 = 4096;
/// How far ahead of the blocks zeros are written: an fdatasync over written bytes need not touch metadata.
const ZEROS_AHEAD: u64 = 1024 * 1024;

/// An open journal; the folder is locked for as long as it lives.
pub struct Journal {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    segments: Vec<Segment>,
    /// Where the next block goes in the last segment.
    end: u64,
    /// Up to where the last segment holds written bytes.
    zeroed: u64,
    last_sequence: u64,
    /// Blocks that are not durable yet, as they will stand in the file.
    pending: Vec<u8>,
    pending_count: u64,
    /// Bytes that a failed commit may have left behind `end`.
    soiled: u64,
    poison: Option<String>,
}

impl Journal {
    /// Opens a folder, made if absent.
    pub fn open(folder: &Path, segment_bytes: u64) -> Result<Self> {
        Self::open_disk(Arc::new(FolderDisk::lock(folder)?), segment_bytes)
    }

    /// Opens a journal on any disk.
    pub fn open_disk(disk: Arc<dyn Disk>, segment_bytes: u64) -> Result<Self> {
        if segment_bytes < SEGMENT_BYTES_MIN {
            let message =
                format!("segments hold at least {SEGMENT_BYTES_MIN} bytes, not {segment_bytes}");
            return Err(JournalError::Argument(message));
        }
        let recovered = recover(&*disk)?;
        Ok(Journal {
            disk,
            segment_bytes,
            zeroed: recovered.end,
            end: recovered.end,
            segments: recovered.segments,
            last_sequence: recovered.last_sequence,
            pending: Vec::new(),
            pending_count: 0,
            soiled: 0,
            poison: None,
        })
    }

    /// The sequence of the newest durable block, 0 if there is none.
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Buffers a block and returns the sequence it will have once committed.
    pub fn append(&mut self, payload: &[u8]) -> Result<u64> {
        self.check()?;
        let sequence = self.last_sequence + self.pending_count + 1;
        block::write(&mut self.pending, payload, sequence, self.last_sequence + 1)?;
        self.pending_count += 1;
        Ok(sequence)
    }

    /// Makes every buffered block durable with one write and one sync. After `Full` they are still buffered.
    pub fn commit(&mut self) -> Result<()> {
        self.check()?;
        if self.pending_count == 0 {
            return Ok(());
        }
        self.make_room()?;
        let segment = self.current()?;
        let path = self.disk.path(&segment.name);
        if self.soiled > 0 {
            write_zeros(&*segment.file, self.end, self.end + self.soiled)
                .map_err(|source| JournalError::of("clean", &path, source))?;
            self.soiled = 0;
        }
        self.write_zeros_ahead(&segment);
        if let Err(source) = write_all_at(&*segment.file, self.end, &self.pending) {
            self.soiled = self.pending.len() as u64;
            return Err(self.after_failed_write(JournalError::of("write", &path, source)));
        }
        if let Err(source) = segment.file.sync() {
            let error = JournalError::of("make durable", &path, source);
            self.poison = Some(format!("could not sync {}", path.display()));
            return Err(error);
        }
        self.end += self.pending.len() as u64;
        self.zeroed = self.zeroed.max(self.end);
        self.last_sequence += self.pending_count;
        self.rollback();
        Ok(())
    }

    /// Drops what was buffered.
    pub fn rollback(&mut self) {
        self.pending.clear();
        self.pending_count = 0;
    }

    /// Streams the durable blocks after a sequence.
    pub fn replay(&self, after: u64) -> Replay {
        Replay::new(
            self.disk.clone(),
            self.segments.clone(),
            after,
            self.last_sequence,
        )
    }

    /// Keeps the state as of a durable sequence.
    pub fn write_snapshot(&self, sequence: u64, payload: &[u8]) -> Result<()> {
        if sequence > self.last_sequence {
            let message = format!(
                "a snapshot of sequence {sequence} is ahead of the journal at {}",
                self.last_sequence
            );
            return Err(JournalError::Argument(message));
        }
        snapshot::store(&*self.disk, sequence, payload)
    }

    /// The newest readable state.
    pub fn load_snapshot(&self) -> Result<Option<(u64, Vec<u8>)>> {
        snapshot::load(&*self.disk, self.last_sequence)
    }

    fn check(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(JournalError::Poisoned {
                cause: cause.clone(),
            }),
            None => Ok(()),
        }
    }

    fn current(&self) -> Result<Segment> {
        self.segments.last().cloned().ok_or(JournalError::Closed)
    }

    /// Begins a new segment if the buffered blocks do not fit into the current one.
    fn make_room(&mut self) -> Result<()> {
        let needed = self.pending.len() as u64;
        if !self.segments.is_empty()
            && (self.end + needed <= self.segment_bytes || self.end == FIRST)
        {
            return Ok(());
        }
        let index = self.segments.last().map_or(1, |last| last.index + 1);
        let bytes = self.segment_bytes.max(FIRST + needed);
        let segment = Segment::create(&*self.disk, index, self.last_sequence + 1, bytes)?;
        self.segments.push(segment);
        self.end = FIRST;
        self.zeroed = FIRST;
        self.soiled = 0;
        Ok(())
    }

    /// Zeros only make syncs cheaper: a failure to write them is found again by the write that matters.
    fn write_zeros_ahead(&mut self, segment: &Segment) {
        let needed = self.end + self.pending.len() as u64;
        if needed <= self.zeroed {
            return;
        }
        let target = (needed + ZEROS_AHEAD).min(self.segment_bytes.max(needed));
        if write_zeros(&*segment.file, needed.max(self.zeroed), target).is_ok() {
            self.zeroed = target;
        }
    }

    fn after_failed_write(&mut self, error: JournalError) -> JournalError {
        if !error.is_full() {
            self.poison = Some(error.to_string());
        }
        error
    }
}
