//! Decides on `open` what a crash or worse has left: makes the last commit durable again, cuts a torn one, refuses the rest.

use crate::disk::{Disk, DiskFile, read_up_to, write_all_at, write_zeros};
use crate::error::{JournalError, Result};
use crate::reader::{Found, SegmentReader};
use crate::segment::{
    PARTIAL_SUFFIX, RESTORE, SEGMENT_DATA_START, SegmentHeader, new_salt, segment_indices,
    segment_name,
};
use crate::snapshot::{snapshot_name, snapshot_sequences};

/// A journal folder in order, ready to be written to.
pub(crate) struct Recovered {
    /// All of them, ascending; never empty.
    pub(crate) segments: Vec<SegmentHeader>,
    /// The last segment, and where its next block goes.
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) position: u64,
    pub(crate) last_sequence: u64,
}

/// Where the blocks of the last segment end.
struct End {
    position: u64,
    /// The end of what a torn commit left behind; `position` if there is none.
    dirty_end: u64,
    last_commit_start: u64,
    last_sequence: u64,
}

/// Verify the blocks from the newest snapshot on and bring the tail in order.
pub(crate) fn recover(disk: &dyn Disk, segment_bytes: u64) -> Result<Recovered> {
    let names = disk
        .names()
        .map_err(|source| JournalError::of("list", &disk.path(""), source))?;
    remove_partial(disk, &names)?;
    // A name that was given just before a crash may be lost in the next one, and with it the blocks that follow.
    disk.sync_names()
        .map_err(|source| JournalError::of("sync", &disk.path(""), source))?;
    let snapshot = snapshot_sequences(&names).last().copied().unwrap_or(0);
    let segments = read_headers(disk, &segment_indices(&names))?;
    let Some((last, sealed)) = segments.split_last() else {
        refuse_lost_blocks(disk, snapshot, 0)?;
        return create_first(disk, segment_bytes);
    };
    let start = segments
        .partition_point(|header| header.first_sequence <= snapshot + 1)
        .saturating_sub(1);
    for (header, next) in sealed.iter().zip(&segments[1..]).skip(start) {
        verify_sealed(disk, header, next.first_sequence)?;
    }
    let mut reader = SegmentReader::open(disk, last)?;
    let end = find_end(&mut reader, last)?;
    refuse_lost_blocks(disk, snapshot, end.last_sequence)?;
    let file = reader.into_file();
    bring_in_order(&*file, last, &end)
        .map_err(|source| JournalError::of("repair", &disk.path(&last.name()), source))?;
    Ok(Recovered {
        file,
        position: end.position,
        last_sequence: end.last_sequence,
        segments,
    })
}

fn remove_partial(disk: &dyn Disk, names: &[String]) -> Result<()> {
    for name in names.iter().filter(|name| name.ends_with(PARTIAL_SUFFIX)) {
        disk.remove(name)
            .map_err(|source| JournalError::of("remove", &disk.path(name), source))?;
    }
    Ok(())
}

fn create_first(disk: &dyn Disk, segment_bytes: u64) -> Result<Recovered> {
    let header = SegmentHeader {
        index: 1,
        first_sequence: 1,
        size: segment_bytes,
        salt: new_salt(),
    };
    let file = header.create(disk)?;
    Ok(Recovered {
        segments: vec![header],
        file,
        position: SEGMENT_DATA_START,
        last_sequence: 0,
    })
}

/// Read the headers of all segments; refuse when one is missing or belongs to another journal.
fn read_headers(disk: &dyn Disk, indices: &[u64]) -> Result<Vec<SegmentHeader>> {
    let mut headers: Vec<SegmentHeader> = Vec::with_capacity(indices.len());
    for (expected, &index) in (1..).zip(indices) {
        let refuse = |index: u64, reason: String| JournalError::Corrupt {
            file: disk.path(&segment_name(index)),
            offset: 0,
            reason,
            advice: RESTORE.into(),
        };
        if index != expected {
            return Err(refuse(
                expected,
                format!("the file is missing, but segment {index} is there"),
            ));
        }
        let path = disk.path(&segment_name(index));
        let file = disk
            .open(&segment_name(index))
            .map_err(|source| JournalError::of("open", &path, source))?;
        let header = SegmentHeader::read(disk, &*file, index)?;
        let (salt, least) = headers
            .last()
            .map_or((header.salt, 1), |last| (last.salt, last.first_sequence));
        if header.salt != salt {
            return Err(refuse(index, "it belongs to another journal".into()));
        }
        if header.first_sequence < least || (index == 1 && header.first_sequence != 1) {
            return Err(refuse(
                index,
                format!("its first block would be {}", header.first_sequence),
            ));
        }
        headers.push(header);
    }
    Ok(headers)
}

/// A snapshot is only made of durable blocks: when it knows more than the segments hold, some are lost.
fn refuse_lost_blocks(disk: &dyn Disk, snapshot: u64, last_sequence: u64) -> Result<()> {
    if snapshot <= last_sequence {
        return Ok(());
    }
    Err(JournalError::Corrupt {
        file: disk.path(&snapshot_name(snapshot)),
        offset: 0,
        reason: format!(
            "it stands for blocks up to {snapshot}, but the segments end with block {last_sequence}"
        ),
        advice:
            "restore the segment files from a copy, or remove the snapshot to give those blocks up"
                .into(),
    })
}

/// Verify a segment that has a successor; what stands behind its last block was given up when the next one was made.
fn verify_sealed(disk: &dyn Disk, header: &SegmentHeader, next_first_sequence: u64) -> Result<()> {
    let mut reader = SegmentReader::open(disk, header)?;
    for expected in header.first_sequence..next_first_sequence {
        if reader.next_is(expected)?.is_none() {
            return Err(reader.corrupt(expected, "nothing stands"));
        }
    }
    Ok(())
}

fn find_end(reader: &mut SegmentReader, header: &SegmentHeader) -> Result<End> {
    let mut end = End {
        position: reader.position,
        dirty_end: reader.position,
        last_commit_start: reader.position,
        last_sequence: header.first_sequence - 1,
    };
    loop {
        let (start, expected) = (reader.position, end.last_sequence + 1);
        match reader.peek()? {
            Found::Block(block) if block.sequence == expected => {
                reader.position += block.block_bytes() as u64;
                if block.index_in_commit == 0 {
                    end.last_commit_start = start;
                }
                end.position = reader.position;
                end.last_sequence = expected;
            }
            Found::Block(block) => return Err(reader.misplaced(expected, &block)),
            found => {
                end.dirty_end = judge_tail(reader, expected, &found)?;
                return Ok(end);
            }
        }
    }
}

/// Return where the remains of a torn commit end; refuse what no crash can have left.
fn judge_tail(reader: &mut SegmentReader, expected: u64, found: &Found) -> Result<u64> {
    let tail = reader.survey_tail(expected)?;
    let (torn, reason) = match *found {
        Found::Damage { length, reason } => (reader.is_torn(length)?, reason),
        _ => (true, "zeros stand"),
    };
    match tail.later_commit {
        Some(later) => Err(reader.corrupt(
            expected,
            &format!("{reason}, before the later commit at byte {later},"),
        )),
        None if !torn => Err(reader.corrupt(expected, reason)),
        None => Ok(tail.dirty_end),
    }
}

/// Make what `open` has seen what the disk holds.
///
/// The last commit may never have been synced, or its sync may have failed, after which the operating system shows
/// pages that it will not write again: so its bytes are written once more.
fn bring_in_order(file: &dyn DiskFile, header: &SegmentHeader, end: &End) -> std::io::Result<()> {
    if file.length()? < header.size {
        file.allocate(header.size)?;
    }
    write_zeros(file, end.position, end.dirty_end)?;
    let mut commit = vec![0; (end.position - end.last_commit_start) as usize];
    read_up_to(file, end.last_commit_start, &mut commit)?;
    write_all_at(file, end.last_commit_start, &commit)?;
    file.sync()
}
