//! What a crash left behind: opens the segments, finds the end, tells a torn tail from damage.

use crate::block::{HEADER_BYTES, Header};
use crate::disk::{Disk, read_up_to, write_zeros};
use crate::error::{JournalError, Result};
use crate::reader::{FIRST, Found, read};
use crate::segment::{self, Segment};

const SECTOR: u64 = 512;
const SEARCH_BYTES: usize = 64 * 1024;

/// The segments there are and where the next block goes.
pub(crate) struct Recovered {
    pub(crate) segments: Vec<Segment>,
    pub(crate) last_sequence: u64,
    pub(crate) end: u64,
}

/// Opens what is in the folder; removes unfinished files and cuts a torn tail.
pub(crate) fn recover(disk: &dyn Disk) -> Result<Recovered> {
    let listed = |source| JournalError::of("list", &disk.path(""), source);
    let names = disk.names().map_err(listed)?;
    for name in names.iter().filter(|name| name.ends_with(".partial")) {
        disk.remove(name)
            .map_err(|source| JournalError::of("remove", &disk.path(name), source))?;
    }
    let mut indices: Vec<u64> = names
        .iter()
        .filter_map(|name| segment::index_of(name))
        .collect();
    indices.sort_unstable();
    let mut segments: Vec<Segment> = Vec::new();
    for index in indices {
        let expected = segments.last().map_or(1, |last| last.index + 1);
        if index != expected {
            return Err(missing(disk, expected));
        }
        segments.push(Segment::open(disk, index)?);
    }
    let Some(last) = segments.last().cloned() else {
        return Ok(Recovered {
            segments,
            last_sequence: 0,
            end: FIRST,
        });
    };
    let (last_sequence, end) = find_end(disk, &last)?;
    Ok(Recovered {
        segments,
        last_sequence,
        end,
    })
}

fn missing(disk: &dyn Disk, index: u64) -> JournalError {
    JournalError::Corrupt {
        file: disk.path(&segment::name(index)),
        offset: 0,
        reason: "the segment is missing".into(),
        advice: "restore the file from a copy, or move the data folder aside to begin anew".into(),
    }
}

/// Walks the last segment to its end.
fn find_end(disk: &dyn Disk, segment: &Segment) -> Result<(u64, u64)> {
    let mut sequence = segment.first_sequence - 1;
    let mut offset = FIRST;
    loop {
        match read(disk, segment, offset)? {
            Found::Block { header, end, .. } => {
                if header.sequence != sequence + 1 {
                    let reason = format!("block {} follows block {sequence}", header.sequence);
                    return Err(segment.corrupt(disk, offset, reason));
                }
                sequence = header.sequence;
                offset = end;
            }
            Found::Nothing => {
                check_nothing_behind(disk, segment, offset, sequence)?;
                return Ok((sequence, offset));
            }
            Found::Damaged { end } => {
                check_torn(disk, segment, offset, end, sequence)?;
                cut(disk, segment, offset)?;
                return Ok((sequence, offset));
            }
        }
    }
}

/// Zeros where a block would begin end the journal, unless a later commit stands behind them. What a torn commit may
/// have left there is cut as well.
fn check_nothing_behind(
    disk: &dyn Disk,
    segment: &Segment,
    offset: u64,
    sequence: u64,
) -> Result<()> {
    refuse_later_commit(disk, segment, offset, sequence)?;
    cut(disk, segment, offset)
}

/// A torn commit is the last one and shows a hole: some sector of it was never written and reads as zeros.
fn check_torn(
    disk: &dyn Disk,
    segment: &Segment,
    offset: u64,
    end: Option<u64>,
    sequence: u64,
) -> Result<()> {
    refuse_later_commit(disk, segment, offset, sequence)?;
    let Some(end) = end else {
        // The header itself is not whole. It lies in at most two sectors, one of which must be missing.
        return match has_hole(disk, segment, offset, offset + HEADER_BYTES as u64)? {
            true => Ok(()),
            false => {
                Err(segment.corrupt(disk, offset, "the header of its last block makes no sense"))
            }
        };
    };
    match has_hole(disk, segment, offset, end)? {
        true => Ok(()),
        false => Err(segment.corrupt(disk, offset, "its last block does not match its checksum")),
    }
}

fn refuse_later_commit(
    disk: &dyn Disk,
    segment: &Segment,
    offset: u64,
    sequence: u64,
) -> Result<()> {
    match find_later_commit(disk, segment, offset, sequence + 1)? {
        Some(later) => {
            let reason = format!(
                "block {} is not what was written, but a later one at byte {later} is",
                sequence + 1
            );
            Err(segment.corrupt(disk, offset, reason))
        }
        None => Ok(()),
    }
}

/// Finds a whole block of a commit that began after `sequence`.
fn find_later_commit(
    disk: &dyn Disk,
    segment: &Segment,
    from: u64,
    sequence: u64,
) -> Result<Option<u64>> {
    let failed = |source| JournalError::of("read", &disk.path(&segment.name), source);
    let length = segment.file.length().map_err(failed)?;
    let mut window = vec![0; SEARCH_BYTES + HEADER_BYTES];
    let mut at = from;
    while at < length {
        let filled = read_up_to(&*segment.file, at, &mut window).map_err(failed)?;
        for place in (0..filled.min(SEARCH_BYTES)).step_by(8) {
            let Some(header) = window
                .get(place..place + HEADER_BYTES)
                .and_then(Header::read)
            else {
                continue;
            };
            let offset = at + place as u64;
            if header.commit > sequence
                && matches!(read(disk, segment, offset)?, Found::Block { .. })
            {
                return Ok(Some(offset));
            }
        }
        at += SEARCH_BYTES as u64;
    }
    Ok(None)
}

/// Whether the part of some sector that lies in the range is all zeros.
fn has_hole(disk: &dyn Disk, segment: &Segment, from: u64, to: u64) -> Result<bool> {
    let failed = |source| JournalError::of("read", &disk.path(&segment.name), source);
    let mut bytes = vec![0; (to - from) as usize];
    let filled = read_up_to(&*segment.file, from, &mut bytes).map_err(failed)?;
    if filled < bytes.len() {
        return Ok(true);
    }
    let mut at = from;
    while at < to {
        let next = (at / SECTOR + 1) * SECTOR;
        let part = &bytes[(at - from) as usize..(next.min(to) - from) as usize];
        // Padding is zeros by design, so a few zero bytes at the very end prove nothing.
        if part.len() >= 8 && part.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        at = next;
    }
    Ok(false)
}

/// Makes everything from `offset` on zeros again.
fn cut(disk: &dyn Disk, segment: &Segment, offset: u64) -> Result<()> {
    let failed = |source| JournalError::of("cut", &disk.path(&segment.name), source);
    let length = segment.file.length().map_err(failed)?;
    let Some(last) = last_byte_set(disk, segment, offset, length)? else {
        return Ok(());
    };
    write_zeros(&*segment.file, offset, last + 1).map_err(failed)?;
    segment.file.sync().map_err(failed)
}

fn last_byte_set(disk: &dyn Disk, segment: &Segment, from: u64, to: u64) -> Result<Option<u64>> {
    let failed = |source| JournalError::of("read", &disk.path(&segment.name), source);
    let mut window = vec![0; SEARCH_BYTES];
    let (mut at, mut last) = (from, None);
    while at < to {
        let filled = read_up_to(&*segment.file, at, &mut window).map_err(failed)?;
        if filled == 0 {
            break;
        }
        if let Some(place) = window[..filled].iter().rposition(|byte| *byte != 0) {
            last = Some(at + place as u64);
        }
        at += filled as u64;
    }
    Ok(last)
}
