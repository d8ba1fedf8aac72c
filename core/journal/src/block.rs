//! The form of one block on disk, and what makes a damaged one tell a crash from rot.
//!
//! ```text
//!  0  magic u32 | stored length u32 | sequence u64 | raw length u32 | index in its commit u32
//! 24  flags u16 | crc of the bytes before u32 | end mark u16                                    = 32 bytes
//! 32  payload as stored, padded with zeros to a multiple of 8
//!     crc of header and payload u32 | end mark u32                                              =  8 bytes
//! ```
//!
//! Little-endian; blocks start at multiples of 8. Both crcs start from the journal's salt, so that a block of another
//! journal, say inside a payload, is none of ours. Magic and marks have several bits set in each byte: a header or
//! block whose last byte is zero was not written to its end, which a single flipped bit cannot imitate. For the same
//! reason a payload is stored raw only if it has no long run of zeros.

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};

/// The most one block can hold; lengths are u32 and lz4 wants less than 2 GiB.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 30;

pub(crate) const HEADER_BYTES: usize = 32;
pub(crate) const ALIGNMENT: usize = 8;
const FOOTER_BYTES: usize = 8;
const MAGIC: [u8; 4] = [0xF1, 0x6B, 0xB7, 0x5D];
const HEADER_END: [u8; 2] = [0xD3, 0xB5];
const BLOCK_END: [u8; 4] = [0x5A, 0xE7, 0xC3, 0xAD];
const FLAG_COMPRESSED: u16 = 1;
/// Below this a payload hardly ever shrinks.
const COMPRESS_BYTES_MIN: usize = 64;
/// Half a sector: a sector with one byte set has a longer run.
const ZERO_RUN_BYTES_MAX: usize = 254;

/// The parsed header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) sequence: u64,
    /// How many blocks of the same commit stand before this one.
    pub(crate) index_in_commit: u32,
    stored_length: u32,
    raw_length: u32,
    compressed: bool,
}

impl BlockHeader {
    /// Parse the header, or None if it is not one that `encode` wrote with this salt.
    pub(crate) fn find(bytes: &[u8], salt: u32) -> Option<Self> {
        let header = bytes.get(..HEADER_BYTES)?;
        if header[..4] != MAGIC
            || header[30..] != HEADER_END
            || u32_at(header, 26) != checksum(salt, &header[..26])
        {
            return None;
        }
        Some(Self {
            sequence: u64_at(header, 8),
            index_in_commit: u32_at(header, 20),
            stored_length: u32_at(header, 4),
            raw_length: u32_at(header, 16),
            compressed: u16::from_le_bytes([header[24], header[25]]) & FLAG_COMPRESSED != 0,
        })
    }

    /// Whether `bytes` begin like a block; a cheap test before `find`.
    pub(crate) fn may_begin(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// All bytes of the block, header included.
    pub(crate) fn block_bytes(&self) -> usize {
        HEADER_BYTES + (self.stored_length as usize).next_multiple_of(ALIGNMENT) + FOOTER_BYTES
    }

    /// The first sequence of the commit that the block belongs to.
    pub(crate) fn commit_sequence(&self) -> u64 {
        self.sequence
            .saturating_sub(u64::from(self.index_in_commit))
    }

    /// Whether `block`, header included, is all there and as it was written.
    pub(crate) fn is_intact(&self, block: &[u8], salt: u32) -> bool {
        let size = self.block_bytes();
        if block.len() < size {
            return false;
        }
        let (body, footer) = block[..size].split_at(size - FOOTER_BYTES);
        footer[4..] == BLOCK_END && u32_at(footer, 0) == checksum(salt, body)
    }

    /// Append the payload of an intact block to `output`; false if it does not decompress to its length.
    pub(crate) fn read_payload(&self, block: &[u8], output: &mut Vec<u8>) -> bool {
        let stored = &block[HEADER_BYTES..HEADER_BYTES + self.stored_length as usize];
        if !self.compressed {
            output.extend_from_slice(stored);
            return true;
        }
        let (start, length) = (output.len(), self.raw_length as usize);
        output.resize(start + length, 0);
        decompress_into(stored, &mut output[start..]).is_ok_and(|count| count == length)
    }
}

/// Writes blocks; owns the compressor's table, whose allocation would cost more than a small block.
pub(crate) struct BlockEncoder {
    salt: u32,
    table: CompressTable,
}

impl BlockEncoder {
    pub(crate) fn new(salt: u32) -> Self {
        Self {
            salt,
            table: CompressTable::large(),
        }
    }

    /// Append the block to `output`; `payload` has at most PAYLOAD_BYTES_MAX bytes.
    pub(crate) fn encode(
        &mut self,
        sequence: u64,
        index_in_commit: u32,
        payload: &[u8],
        output: &mut Vec<u8>,
    ) {
        let start = output.len();
        output.resize(start + HEADER_BYTES, 0);
        let compressed = self.store(payload, output);
        let stored_length = output.len() - start - HEADER_BYTES;
        output.resize(
            start + HEADER_BYTES + stored_length.next_multiple_of(ALIGNMENT),
            0,
        );

        let header = &mut output[start..start + HEADER_BYTES];
        header[..4].copy_from_slice(&MAGIC);
        header[4..8].copy_from_slice(&(stored_length as u32).to_le_bytes());
        header[8..16].copy_from_slice(&sequence.to_le_bytes());
        header[16..20].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        header[20..24].copy_from_slice(&index_in_commit.to_le_bytes());
        header[24..26]
            .copy_from_slice(&(if compressed { FLAG_COMPRESSED } else { 0 }).to_le_bytes());
        let crc = checksum(self.salt, &header[..26]);
        header[26..30].copy_from_slice(&crc.to_le_bytes());
        header[30..].copy_from_slice(&HEADER_END);

        let crc = checksum(self.salt, &output[start..]);
        output.extend_from_slice(&crc.to_le_bytes());
        output.extend_from_slice(&BLOCK_END);
    }

    /// Append the payload, compressed if that is smaller; return whether it was.
    fn store(&mut self, payload: &[u8], output: &mut Vec<u8>) -> bool {
        let start = output.len();
        if payload.len() >= COMPRESS_BYTES_MIN {
            output.resize(start + get_maximum_output_size(payload.len()), 0);
            let length = compress_into_with_table(payload, &mut output[start..], &mut self.table)
                .expect("the output has the size that the compressor asks for");
            output.truncate(start + length);
            if length < payload.len() || has_long_zero_run(payload) {
                return true;
            }
            output.truncate(start);
        }
        output.extend_from_slice(payload);
        false
    }
}

fn has_long_zero_run(bytes: &[u8]) -> bool {
    let mut run = 0;
    bytes.iter().any(|&byte| {
        run = if byte == 0 { run + 1 } else { 0 };
        run > ZERO_RUN_BYTES_MAX
    })
}

pub(crate) fn checksum(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"))
}
