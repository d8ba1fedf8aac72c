//! Snapshots: states that stand for all blocks up to a sequence, in the block format, never seen half made.

use crate::block::{BlockEncoder, checksum, u32_at, u64_at};
use crate::disk::{Disk, DiskFile, write_all_at};
use crate::error::{JournalError, Result};
use crate::reader::SegmentReader;
use crate::segment::{FORMAT_VERSION, create_whole, number_in};

const MAGIC: [u8; 8] = *b"FKSTATE\xB7";
const HEADER_BYTES: usize = 40;
const PREFIX: &str = "snapshot-";
const SUFFIX: &str = ".state";
/// A chunk is compressed at once, so it bounds the extra memory.
const CHUNK_BYTES: usize = 1 << 20;
/// The newest, and one to fall back to.
const KEPT: usize = 2;

/// Write the snapshot and remove all but the newest two.
pub(crate) fn write_snapshot(
    disk: &dyn Disk,
    salt: u32,
    sequence: u64,
    payload: &[u8],
) -> Result<()> {
    create_whole(disk, &snapshot_name(sequence), |file| {
        fill(file, salt, sequence, payload)
    })?;
    let names = disk
        .names()
        .map_err(|source| JournalError::of("list", &disk.path(""), source))?;
    for sequence in snapshot_sequences(&names).into_iter().rev().skip(KEPT) {
        let name = snapshot_name(sequence);
        disk.remove(&name)
            .map_err(|source| JournalError::of("remove", &disk.path(&name), source))?;
    }
    Ok(())
}

fn fill(file: &dyn DiskFile, salt: u32, sequence: u64, payload: &[u8]) -> std::io::Result<()> {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&salt.to_le_bytes());
    header[16..24].copy_from_slice(&sequence.to_le_bytes());
    header[24..32].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    let crc = checksum(0, &header[..32]);
    header[32..36].copy_from_slice(&crc.to_le_bytes());
    write_all_at(file, 0, &header)?;

    let (mut encoder, mut block, mut offset) =
        (BlockEncoder::new(salt), Vec::new(), HEADER_BYTES as u64);
    for (index, chunk) in (1..).zip(payload.chunks(CHUNK_BYTES)) {
        block.clear();
        encoder.encode(index, 0, chunk, &mut block);
        write_all_at(file, offset, &block)?;
        offset += block.len() as u64;
    }
    Ok(())
}

/// Return the newest snapshot that is whole; a damaged one only costs a longer replay.
pub(crate) fn load_snapshot(disk: &dyn Disk, salt: u32) -> Result<Option<(u64, Vec<u8>)>> {
    let names = disk
        .names()
        .map_err(|source| JournalError::of("list", &disk.path(""), source))?;
    for sequence in snapshot_sequences(&names).into_iter().rev() {
        match read(disk, salt, sequence) {
            Ok(Some(payload)) => return Ok(Some((sequence, payload))),
            Ok(None) | Err(JournalError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Read one snapshot; None or Corrupt if it is not what `write_snapshot` wrote for this journal.
fn read(disk: &dyn Disk, salt: u32, sequence: u64) -> Result<Option<Vec<u8>>> {
    let name = snapshot_name(sequence);
    let mut reader = SegmentReader::over(disk, &name, salt, HEADER_BYTES as u64)?;
    let header = reader.bytes(0, HEADER_BYTES)?;
    let is_ours = header.len() == HEADER_BYTES
        && header[..8] == MAGIC
        && u32_at(header, 8) == FORMAT_VERSION
        && u32_at(header, 12) == salt
        && u64_at(header, 16) == sequence
        && u32_at(header, 32) == checksum(0, &header[..32]);
    if !is_ours {
        return Ok(None);
    }
    let length = u64_at(header, 24) as usize;
    let mut payload = Vec::with_capacity(length);
    for index in 1..=length.div_ceil(CHUNK_BYTES) as u64 {
        let Some(block) = reader.next_is(index)? else {
            return Ok(None);
        };
        reader.read_payload(&block, &mut payload)?;
    }
    Ok(Some(payload).filter(|payload| payload.len() == length))
}

pub(crate) fn snapshot_name(sequence: u64) -> String {
    format!("{PREFIX}{sequence:020}{SUFFIX}")
}

/// Return the sequences of the snapshot files among `names`, ascending.
pub(crate) fn snapshot_sequences(names: &[String]) -> Vec<u64> {
    let mut sequences: Vec<u64> = names
        .iter()
        .filter_map(|name| number_in(name, PREFIX, SUFFIX))
        .collect();
    sequences.sort_unstable();
    sequences
}
