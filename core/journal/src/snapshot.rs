//! States as of a sequence: one file each, whole or not there; the newest two are kept.

use crate::block::{HEADER_BYTES, Header, write};
use crate::disk::{Disk, read_up_to, write_all_at};
use crate::error::{JournalError, Result};

const KEPT: usize = 2;

fn name(sequence: u64) -> String {
    format!("snapshot-{sequence:020}.state")
}

fn sequence_of(name: &str) -> Option<u64> {
    name.strip_prefix("snapshot-")?
        .strip_suffix(".state")?
        .parse()
        .ok()
}

fn sequences(disk: &dyn Disk) -> Result<Vec<u64>> {
    let names = disk
        .names()
        .map_err(|source| JournalError::of("list", &disk.path(""), source))?;
    let mut found: Vec<u64> = names.iter().filter_map(|name| sequence_of(name)).collect();
    found.sort_unstable();
    Ok(found)
}

/// Keeps a state; a failure leaves the earlier ones as they were.
pub(crate) fn store(disk: &dyn Disk, sequence: u64, payload: &[u8]) -> Result<()> {
    let name = name(sequence);
    let partial = format!("{name}.partial");
    let mut bytes = Vec::new();
    // A snapshot of nothing has sequence 0, which no block has.
    write(&mut bytes, payload, sequence + 1, sequence + 1)?;
    let stored = disk.create(&partial).and_then(|file| {
        write_all_at(&*file, 0, &bytes)?;
        file.sync()?;
        disk.rename(&partial, &name)?;
        disk.sync_names()
    });
    if let Err(source) = stored {
        let _ = disk.remove(&partial);
        return Err(JournalError::of("write", &disk.path(&name), source));
    }
    let found = sequences(disk)?;
    for old in &found[..found.len().saturating_sub(KEPT)] {
        let _ = disk.remove(&self::name(*old));
    }
    Ok(())
}

/// The newest state that reads back as it was written and is not ahead of the journal.
pub(crate) fn load(disk: &dyn Disk, last_sequence: u64) -> Result<Option<(u64, Vec<u8>)>> {
    for sequence in sequences(disk)?
        .into_iter()
        .rev()
        .filter(|sequence| *sequence <= last_sequence)
    {
        if let Some(payload) = read(disk, sequence)? {
            return Ok(Some((sequence, payload)));
        }
    }
    Ok(None)
}

fn read(disk: &dyn Disk, sequence: u64) -> Result<Option<Vec<u8>>> {
    let name = name(sequence);
    let failed = |source| JournalError::of("read", &disk.path(&name), source);
    let file = disk.open(&name).map_err(failed)?;
    let mut bytes = vec![0; file.length().map_err(failed)? as usize];
    let length = read_up_to(&*file, 0, &mut bytes).map_err(failed)?;
    let Some(header) = Header::read(&bytes[..length]) else {
        return Ok(None);
    };
    let end = HEADER_BYTES + header.stored_bytes();
    let whole = header.sequence == sequence + 1 && end <= length;
    if !whole || !header.matches(&bytes[HEADER_BYTES..end]) {
        return Ok(None);
    }
    Ok(header.payload(&bytes[HEADER_BYTES..end]).ok())
}
