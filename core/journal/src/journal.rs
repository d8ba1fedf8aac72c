//! The writer: blocks are buffered by `append` and become durable together by `commit`.

use std::path::Path;
use std::sync::Arc;

use crate::block::{BlockEncoder, PAYLOAD_BYTES_MAX};
use crate::disk::{Disk, DiskFile, FolderDisk, write_all_at, write_zeros};
use crate::error::{JournalError, Result};
use crate::lock::FolderLock;
use crate::recovery::{Recovered, recover};
use crate::replay::Replay;
use crate::segment::{SEGMENT_DATA_START, SegmentHeader};
use crate::snapshot::{load_snapshot, write_snapshot};

pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// The header page and one page of blocks.
pub const SEGMENT_BYTES_MIN: u64 = 2 * SEGMENT_DATA_START;
/// How far zeros are written ahead of the blocks: one commit in many pays about half a millisecond for the others.
const ZERO_AHEAD_BYTES: u64 = 1 << 20;
/// A buffer that a huge commit has left behind is not kept.
const BUFFER_BYTES_KEPT_MAX: usize = 8 << 20;

/// An open journal; see the crate's documentation for what it promises.
pub struct Journal {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    encoder: BlockEncoder,
    /// All segments, ascending; blocks go to the last one.
    segments: Vec<SegmentHeader>,
    file: Box<dyn DiskFile>,
    position: u64,
    /// From `position` to here the disk holds written zeros, unless `dirty_until` says otherwise.
    zeroed_until: u64,
    /// The end of what a commit that failed may have written behind `position`.
    dirty_until: u64,
    /// Those remains are of blocks that were rolled back: they must be zeros again before anything else is written.
    must_scrub: bool,
    last_sequence: u64,
    /// Encoded blocks that are not durable yet.
    pending: Vec<u8>,
    pending_count: u32,
    /// Why nothing can be written any more.
    poison: Option<String>,
    _lock: Option<FolderLock>,
}

impl Journal {
    /// Open or make the journal in `folder` and keep others out until the value is dropped.
    pub fn open(folder: &Path, segment_bytes: u64) -> Result<Self> {
        check_segment_bytes(segment_bytes)?;
        let (disk, lock) = FolderDisk::lock(folder)?;
        Ok(Self {
            _lock: Some(lock),
            ..Self::open_disk(Arc::new(disk), segment_bytes)?
        })
    }

    /// Open or make the journal on any disk; the caller sees to it that nobody else does.
    pub fn open_disk(disk: Arc<dyn Disk>, segment_bytes: u64) -> Result<Self> {
        check_segment_bytes(segment_bytes)?;
        let Recovered {
            segments,
            file,
            position,
            last_sequence,
        } = recover(&*disk, segment_bytes)?;
        Ok(Self {
            encoder: BlockEncoder::new(segments[0].salt),
            disk,
            segment_bytes,
            segments,
            file,
            position,
            zeroed_until: position,
            dirty_until: position,
            must_scrub: false,
            last_sequence,
            pending: Vec::new(),
            pending_count: 0,
            poison: None,
            _lock: None,
        })
    }

    /// The sequence of the last durable block, 0 if there is none.
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Buffer one block and return its sequence, which counts only once it is committed.
    pub fn append(&mut self, payload: &[u8]) -> Result<u64> {
        self.check_usable()?;
        if payload.len() > PAYLOAD_BYTES_MAX {
            let message = format!(
                "a block of {} bytes is larger than {PAYLOAD_BYTES_MAX}",
                payload.len()
            );
            return Err(JournalError::Argument(message));
        }
        let sequence = self.last_sequence + u64::from(self.pending_count) + 1;
        self.encoder
            .encode(sequence, self.pending_count, payload, &mut self.pending);
        self.pending_count += 1;
        Ok(sequence)
    }

    /// Make every buffered block durable: one write, one sync.
    ///
    /// After `Full` the blocks are still buffered: repeat, or `rollback`. After any other failure to write the journal
    /// refuses everything until it is opened again, which tells which blocks arrived.
    pub fn commit(&mut self) -> Result<()> {
        self.check_usable()?;
        if self.pending.is_empty() {
            return Ok(());
        }
        self.scrub()?;
        if self.position + self.pending.len() as u64 > self.segment().size {
            self.rotate()?;
        }
        self.write_pending()?;
        self.zero_ahead()?;
        self.sync()?;
        self.position += self.pending.len() as u64;
        self.dirty_until = self.position;
        self.last_sequence += u64::from(self.pending_count);
        self.forget_pending();
        Ok(())
    }

    /// Drop the buffered blocks; their sequences are given out again.
    pub fn rollback(&mut self) -> Result<()> {
        self.check_usable()?;
        self.forget_pending();
        self.must_scrub = self.dirty_until > self.position;
        match self.scrub() {
            Err(error) if error.is_full() => Ok(()), // the next commit tries again before it writes
            other => other,
        }
    }

    /// Stream the durable blocks with a sequence above `after`.
    pub fn replay(&self, after: u64) -> Result<Replay> {
        self.check_durable(after)?;
        Ok(Replay::new(
            Arc::clone(&self.disk),
            &self.segments,
            after,
            self.last_sequence,
        ))
    }

    /// Keep `payload` as the state after the durable block `sequence`.
    pub fn write_snapshot(&mut self, sequence: u64, payload: &[u8]) -> Result<()> {
        self.check_usable()?;
        self.check_durable(sequence)?;
        let written = write_snapshot(&*self.disk, self.salt(), sequence, payload);
        self.note_poison(written)
    }

    /// Return the newest snapshot that is whole, with its sequence.
    pub fn load_snapshot(&self) -> Result<Option<(u64, Vec<u8>)>> {
        load_snapshot(&*self.disk, self.salt())
    }

    fn segment(&self) -> &SegmentHeader {
        self.segments
            .last()
            .expect("a journal has a segment from the moment it is opened")
    }

    fn salt(&self) -> u32 {
        self.segment().salt
    }

    fn check_usable(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(JournalError::Poisoned {
                cause: cause.clone(),
            }),
            None => Ok(()),
        }
    }

    fn check_durable(&self, sequence: u64) -> Result<()> {
        if sequence <= self.last_sequence {
            return Ok(());
        }
        let last = self.last_sequence;
        Err(JournalError::Argument(format!(
            "block {sequence} is not durable, the last one is {last}"
        )))
    }

    /// Go on in a new segment, large enough for all that is buffered.
    fn rotate(&mut self) -> Result<()> {
        let header = SegmentHeader {
            index: self.segment().index + 1,
            first_sequence: self.last_sequence + 1,
            size: self
                .segment_bytes
                .max(SEGMENT_DATA_START + self.pending.len() as u64),
            salt: self.salt(),
        };
        let created = header.create(&*self.disk);
        self.file = self.note_poison(created)?;
        self.segments.push(header);
        self.position = SEGMENT_DATA_START;
        self.zeroed_until = self.position;
        self.dirty_until = self.position;
        Ok(())
    }

    fn write_pending(&mut self) -> Result<()> {
        let end = self.position + self.pending.len() as u64;
        self.dirty_until = self.dirty_until.max(end);
        let written = write_all_at(&*self.file, self.position, &self.pending);
        written.or_else(|source| self.fail("write to", source))
    }

    /// Turn reserved space behind the buffered blocks into written zeros once they reach what is there.
    fn zero_ahead(&mut self) -> Result<()> {
        let end = self.position + self.pending.len() as u64;
        if end <= self.zeroed_until {
            return Ok(());
        }
        let until = (end + ZERO_AHEAD_BYTES).min(self.segment().size);
        match write_zeros(&*self.file, end, until).or_else(|source| self.fail("write to", source)) {
            Ok(()) => self.zeroed_until = until,
            Err(error) if error.is_full() => {} // only speed is lost
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Zero what rolled back blocks have left on the disk, so that it can never pass for a continuation.
    fn scrub(&mut self) -> Result<()> {
        if !self.must_scrub {
            return Ok(());
        }
        write_zeros(&*self.file, self.position, self.dirty_until)
            .or_else(|source| self.fail("write to", source))?;
        self.sync()?;
        self.dirty_until = self.position;
        self.must_scrub = false;
        Ok(())
    }

    /// Pages whose sync has failed may never be written, yet read back as if they were: there is no second try.
    fn sync(&mut self) -> Result<()> {
        self.file.sync().or_else(|source| {
            let path = self.disk.path(&self.segment().name());
            self.poison(format!("could not sync {}: {source}", path.display()))
        })
    }

    /// A full disk can be emptied; after any other failed write nobody knows what the disk holds.
    fn fail(&mut self, doing: &'static str, source: std::io::Error) -> Result<()> {
        let error = JournalError::of(doing, &self.disk.path(&self.segment().name()), source);
        if error.is_full() {
            Err(error)
        } else {
            self.poison(error.to_string())
        }
    }

    fn poison(&mut self, cause: String) -> Result<()> {
        self.poison = Some(cause.clone());
        Err(JournalError::Poisoned { cause })
    }

    fn note_poison<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if let Err(JournalError::Poisoned { cause }) = &outcome {
            self.poison = Some(cause.clone());
        }
        outcome
    }

    fn forget_pending(&mut self) {
        self.pending_count = 0;
        self.pending.clear();
        if self.pending.capacity() > BUFFER_BYTES_KEPT_MAX {
            self.pending = Vec::new();
        }
    }
}

fn check_segment_bytes(segment_bytes: u64) -> Result<()> {
    if segment_bytes >= SEGMENT_BYTES_MIN {
        return Ok(());
    }
    Err(JournalError::Argument(format!(
        "segment_bytes must be at least {SEGMENT_BYTES_MIN}, not {segment_bytes}"
    )))
}
