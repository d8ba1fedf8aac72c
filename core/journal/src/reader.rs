//! Reads one segment block by block through a bounded buffer, and judges what it cannot read.

use std::path::PathBuf;

use crate::block::{ALIGNMENT, BlockHeader, HEADER_BYTES};
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::error::{JournalError, Result};
use crate::segment::{RESTORE, SEGMENT_DATA_START, SegmentHeader};

const BUFFER_BYTES: usize = 256 * 1024;
/// The unit that disks write whole or not at all; larger ones are multiples.
const SECTOR_BYTES: u64 = 512;

/// What stands at a position where a block is expected.
#[derive(Debug)]
pub(crate) enum Found {
    Block(BlockHeader),
    /// Zeros where a header would be.
    Nothing,
    /// Something else; `length` bytes from here ought to be a header or a block.
    Damage {
        length: usize,
        reason: &'static str,
    },
}

/// What stands behind the last block of the last segment.
pub(crate) struct Tail {
    /// The end of the last byte that is not zero; the position itself if there is none.
    pub(crate) dirty_end: u64,
    /// Where a commit begins that was written after the block expected here, so that block was durable once.
    pub(crate) later_commit: Option<u64>,
}

/// A cursor over the blocks of one segment.
pub(crate) struct SegmentReader {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    salt: u32,
    pub(crate) position: u64,
    buffer: Vec<u8>,
    buffer_start: u64,
}

impl SegmentReader {
    pub(crate) fn open(disk: &dyn Disk, header: &SegmentHeader) -> Result<Self> {
        Self::over(disk, &header.name(), header.salt, SEGMENT_DATA_START)
    }

    /// Read blocks of any file that begin at `position`.
    pub(crate) fn over(disk: &dyn Disk, name: &str, salt: u32, position: u64) -> Result<Self> {
        let path = disk.path(name);
        let file = disk
            .open(name)
            .map_err(|source| JournalError::of("open", &path, source))?;
        Ok(Self {
            file,
            path,
            salt,
            position,
            buffer: Vec::new(),
            buffer_start: 0,
        })
    }

    pub(crate) fn into_file(self) -> Box<dyn DiskFile> {
        self.file
    }

    /// Return up to `length` bytes from `offset` on, fewer only at the end of the file.
    pub(crate) fn bytes(&mut self, offset: u64, length: usize) -> Result<&[u8]> {
        let buffer_end = self.buffer_start + self.buffer.len() as u64;
        if offset < self.buffer_start || offset + length as u64 > buffer_end {
            self.buffer.resize(length.max(BUFFER_BYTES), 0);
            self.buffer_start = offset;
            let filled = read_up_to(&*self.file, offset, &mut self.buffer)
                .inspect_err(|_| self.buffer.clear())
                .map_err(|source| JournalError::of("read", &self.path, source))?;
            self.buffer.truncate(filled);
        }
        let start = ((offset - self.buffer_start) as usize).min(self.buffer.len());
        let end = (start + length).min(self.buffer.len());
        Ok(&self.buffer[start..end])
    }

    /// Look at what stands at the position.
    pub(crate) fn peek(&mut self) -> Result<Found> {
        let (position, salt) = (self.position, self.salt);
        let bytes = self.bytes(position, HEADER_BYTES)?;
        if is_zero(bytes) {
            return Ok(Found::Nothing);
        }
        let Some(header) = BlockHeader::find(bytes, salt) else {
            return Ok(Found::Damage {
                length: HEADER_BYTES,
                reason: "the header of a block is not readable",
            });
        };
        let length = header.block_bytes();
        if header.is_intact(self.bytes(position, length)?, salt) {
            Ok(Found::Block(header))
        } else {
            Ok(Found::Damage {
                length,
                reason: "the checksum of a block does not match",
            })
        }
    }

    /// Move over the block `expected`; None if nothing stands here, an error for anything else.
    pub(crate) fn next_is(&mut self, expected: u64) -> Result<Option<BlockHeader>> {
        match self.peek()? {
            Found::Block(header) if header.sequence == expected => {
                self.position += header.block_bytes() as u64;
                Ok(Some(header))
            }
            Found::Block(header) => Err(self.misplaced(expected, &header)),
            Found::Damage { reason, .. } => Err(self.corrupt(expected, reason)),
            Found::Nothing => Ok(None),
        }
    }

    /// Append the payload of the block that was moved over last to `output`.
    pub(crate) fn read_payload(
        &mut self,
        header: &BlockHeader,
        output: &mut Vec<u8>,
    ) -> Result<()> {
        let length = header.block_bytes();
        let block = self.bytes(self.position - length as u64, length)?;
        if header.read_payload(block, output) {
            return Ok(());
        }
        self.position -= length as u64;
        Err(self.corrupt(header.sequence, "a payload does not decompress"))
    }

    /// Whether what ought to be `length` bytes from the position on was never written whole.
    ///
    /// A crash leaves zeros (or the end of the file) instead of a suffix, or of whole sectors.
    pub(crate) fn is_torn(&mut self, length: usize) -> Result<bool> {
        let position = self.position;
        let bytes = self.bytes(position, length)?;
        if bytes.len() < length || bytes[length - 1] == 0 {
            return Ok(true);
        }
        let first = (SECTOR_BYTES - position % SECTOR_BYTES) as usize;
        let (head, rest) = bytes.split_at(first.min(length));
        Ok(is_zero(head) || rest.chunks(SECTOR_BYTES as usize).any(is_zero))
    }

    /// Examine everything from the position to the end of the file, where the block `expected` is not.
    pub(crate) fn survey_tail(&mut self, expected: u64) -> Result<Tail> {
        let (mut offset, salt) = (self.position, self.salt);
        let mut tail = Tail {
            dirty_end: offset,
            later_commit: None,
        };
        loop {
            let bytes = self.bytes(offset, BUFFER_BYTES)?;
            if bytes.is_empty() {
                return Ok(tail);
            }
            let count = bytes.len();
            if is_zero(bytes) {
                offset += count as u64;
                continue;
            }
            let candidates = header_offsets(bytes);
            if let Some(last) = bytes.iter().rposition(|&byte| byte != 0) {
                tail.dirty_end = offset + last as u64 + 1;
            }
            for candidate in candidates {
                let at = offset + candidate as u64;
                let later = BlockHeader::find(self.bytes(at, HEADER_BYTES)?, salt)
                    .filter(|header| header.commit_sequence() > expected);
                if let Some(header) = later
                    && header.is_intact(self.bytes(at, header.block_bytes())?, salt)
                {
                    tail.later_commit.get_or_insert(at);
                }
            }
            offset += count as u64;
        }
    }

    /// The error for another block at the position than `expected`.
    pub(crate) fn misplaced(&self, expected: u64, found: &BlockHeader) -> JournalError {
        self.corrupt(expected, &format!("block {} stands", found.sequence))
    }

    /// The error for damage at the position, where the block `expected` should be.
    pub(crate) fn corrupt(&self, expected: u64, reason: &str) -> JournalError {
        let (path, position) = (self.path.display(), self.position);
        JournalError::Corrupt {
            file: self.path.clone(),
            offset: position,
            reason: format!("{reason} where block {expected} should be"),
            advice: format!(
                "{RESTORE}, or give up block {expected} and all after it: remove later segments and snapshots and run \
                 `truncate -s {position} {path}`"
            ),
        }
    }
}

/// Where in `bytes`, which begin at a multiple of 8, a block may begin.
fn header_offsets(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len())
        .step_by(ALIGNMENT)
        .filter(|&start| BlockHeader::may_begin(&bytes[start..]))
        .collect()
}

/// In pieces without an early exit, which the compiler turns into wide instructions: tails are tens of megabytes.
fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(64)
        .all(|piece| piece.iter().fold(0, |seen, byte| seen | byte) == 0)
}
