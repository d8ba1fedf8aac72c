//! The lock of a folder: one process, and in it one journal, at a time.
//!
//! It is the process' own (fcntl), not the open file's: a fork does not hold it, so that nothing which a killed process has
//! forked keeps the next one out. Such a lock does not keep its own process out, and is gone once the process closes the
//! file by whatever descriptor; therefore `HELD` knows which folders are locked here, and their files are not opened again.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

use crate::error::{JournalError, Result};

const NAME: &str = "lock";

/// Device and number of a file.
type Identity = (u64, u64);

/// The lock files that are held, by the process that holds them: a fork finds those of its parent here.
static HELD: Mutex<BTreeMap<Identity, u32>> = Mutex::new(BTreeMap::new());

/// Keeps other openers out of a folder for as long as it lives.
#[derive(Debug)]
pub struct FolderLock {
    file: Option<File>,
    identity: Identity,
}

impl FolderLock {
    /// Takes the lock of a folder that is there.
    pub(crate) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let failed = |source| JournalError::of("lock", &path, source);
        let mut held = held();
        if let Ok(status) = fs::metadata(&path)
            && held.get(&identity(&status)) == Some(&process::id())
        {
            return Err(locked(folder, Some(process::id())));
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::AGAIN | Errno::ACCESS) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok();
                return Err(locked(folder, pid.and_then(|_| text.trim().parse().ok())));
            }
            Err(error) => return Err(failed(error.into())),
        }
        // The text only makes another opener's message better: a full disk must not keep the journal from opening.
        let _ = file
            .set_len(0)
            .and_then(|()| write!(file, "{}", process::id()));
        let identity = identity(&file.metadata().map_err(failed)?);
        held.insert(identity, process::id());
        Ok(FolderLock {
            file: Some(file),
            identity,
        })
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        let mut held = held();
        drop(self.file.take()); // while nobody here can take the lock, which closing would take away again
        held.remove(&self.identity);
    }
}

fn held() -> MutexGuard<'static, BTreeMap<Identity, u32>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn identity(status: &fs::Metadata) -> Identity {
    (status.dev(), status.ino())
}

fn locked(folder: &Path, pid: Option<u32>) -> JournalError {
    JournalError::Locked {
        folder: folder.to_path_buf(),
        pid,
    }
}
