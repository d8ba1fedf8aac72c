//! Reads blocks one after the other from a segment.

use crate::block::{HEADER_BYTES, Header};
use crate::disk::{Disk, read_up_to};
use crate::error::{JournalError, Result};
use crate::segment::{self, Segment};

/// What stands at a place in a segment.
pub(crate) enum Found {
    /// A whole block: its header, what is stored, and where it ends.
    Block {
        header: Header,
        stored: Vec<u8>,
        end: u64,
    },
    /// Zeros, or the end of the file, where a header would begin.
    Nothing,
    /// Something else; `end` is where it would end if its header can be believed.
    Damaged { end: Option<u64> },
}

/// Reads what stands at `offset`.
pub(crate) fn read(disk: &dyn Disk, segment: &Segment, offset: u64) -> Result<Found> {
    let failed = |source| JournalError::of("read", &disk.path(&segment.name), source);
    let mut head = [0; HEADER_BYTES];
    let length = read_up_to(&*segment.file, offset, &mut head).map_err(failed)?;
    if head[..length].iter().all(|byte| *byte == 0) {
        return Ok(Found::Nothing);
    }
    let Some(header) = Header::read(&head[..length]) else {
        return Ok(Found::Damaged { end: None });
    };
    let end = offset + header.block_bytes() as u64;
    let file_length = segment.file.length().map_err(failed)?;
    if offset + (HEADER_BYTES + header.stored_bytes()) as u64 > file_length {
        return Ok(Found::Damaged { end: None });
    }
    let mut stored = vec![0; header.stored_bytes()];
    let length =
        read_up_to(&*segment.file, offset + HEADER_BYTES as u64, &mut stored).map_err(failed)?;
    if length == stored.len() && header.matches(&stored) {
        Ok(Found::Block {
            header,
            stored,
            end,
        })
    } else {
        Ok(Found::Damaged { end: Some(end) })
    }
}

/// Where the first block of a segment begins.
pub(crate) const FIRST: u64 = segment::HEADER_BYTES;
