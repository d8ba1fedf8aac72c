//! A block on disk: a header of 40 bytes, the payload, zeros up to a multiple of 8, a trailer of 8 bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | magic |
//! | 4..8 | flags: bit 0 says that the payload is an lz4 block |
//! | 8..12 | stored length |
//! | 12..16 | length of the payload when unpacked |
//! | 16..24 | sequence |
//! | 24..32 | sequence of the first block of the same commit |
//! | 32..36 | CRC-32 of what is stored |
//! | 36..40 | CRC-32 of bytes 0..36 |
//!
//! All numbers are little-endian. The header has a checksum of its own, so that its lengths can be believed when the payload
//! is not whole; the trailer is not zero, so that no sector of a whole block is all zeros.

use crate::error::{JournalError, Result};

/// The largest payload of one block.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 30;

pub(crate) const HEADER_BYTES: usize = 40;
const MAGIC: u32 = 0x4B4C_4246;
const TRAILER: u64 = 0xFB4B_4C42_FB4B_4C42;
const TRAILER_BYTES: usize = 8;
const LZ4: u32 = 1;
/// Below this, lz4 saves less than it costs: a guess.
const COMPRESS_FROM: usize = 256;

/// A header that names a plausible block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    flags: u32,
    stored: u32,
    unpacked: u32,
    pub(crate) sequence: u64,
    pub(crate) commit: u64,
    checksum: u32,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default())
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(8)
}

impl Header {
    /// Reads a header; `None` if these bytes cannot be one.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER_BYTES
            || u32_at(bytes, 0) != MAGIC
            || u32_at(bytes, 36) != crc32fast::hash(&bytes[..36])
        {
            return None;
        }
        let header = Header {
            flags: u32_at(bytes, 4),
            stored: u32_at(bytes, 8),
            unpacked: u32_at(bytes, 12),
            sequence: u64_at(bytes, 16),
            commit: u64_at(bytes, 24),
            checksum: u32_at(bytes, 32),
        };
        let sizes = header.stored as usize <= PAYLOAD_BYTES_MAX + PAYLOAD_BYTES_MAX / 64
            && header.unpacked as usize <= PAYLOAD_BYTES_MAX;
        let order = header.commit <= header.sequence && header.commit > 0;
        (sizes && order && header.flags & !LZ4 == 0).then_some(header)
    }

    /// How many bytes of the file the block takes.
    pub(crate) fn block_bytes(&self) -> usize {
        padded(HEADER_BYTES + self.stored as usize) + TRAILER_BYTES
    }

    /// How many bytes are stored behind the header.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.stored as usize
    }

    /// Whether these stored bytes are what was written.
    pub(crate) fn matches(&self, stored: &[u8]) -> bool {
        stored.len() == self.stored as usize && crc32fast::hash(stored) == self.checksum
    }

    /// The payload, unpacked.
    pub(crate) fn payload(&self, stored: &[u8]) -> std::result::Result<Vec<u8>, &'static str> {
        if self.flags & LZ4 == 0 {
            return Ok(stored.to_vec());
        }
        lz4_flex::block::decompress(stored, self.unpacked as usize)
            .map_err(|_| "its content cannot be unpacked")
    }
}

/// Appends a block to `out`.
pub(crate) fn write(out: &mut Vec<u8>, payload: &[u8], sequence: u64, commit: u64) -> Result<()> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        let message = format!(
            "a block holds at most {PAYLOAD_BYTES_MAX} bytes, not {}",
            payload.len()
        );
        return Err(JournalError::Argument(message));
    }
    let packed = if payload.len() >= COMPRESS_FROM {
        lz4_flex::block::compress(payload)
    } else {
        Vec::new()
    };
    let saves = !packed.is_empty() && packed.len() < payload.len();
    let (flags, stored) = if saves {
        (LZ4, packed.as_slice())
    } else {
        (0, payload)
    };
    let start = out.len();
    for word in [MAGIC, flags, stored.len() as u32, payload.len() as u32] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&commit.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(stored).to_le_bytes());
    let sum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(stored);
    out.resize(start + padded(HEADER_BYTES + stored.len()), 0);
    out.extend_from_slice(&TRAILER.to_le_bytes());
    Ok(())
}
