//! Everything that can go wrong, each with what the caller should do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a journal operation failed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process owns the folder.
    #[error("the folder {} is in use by {}; stop it or use another folder", folder.display(), owner(*pid))]
    Locked { folder: PathBuf, pid: Option<u32> },

    /// What was durable once no longer reads back as it was written.
    #[error("{} is damaged at byte {offset}: {reason}; {advice}", file.display())]
    Corrupt {
        file: PathBuf,
        offset: u64,
        reason: String,
        advice: String,
    },

    /// The file was written in a format that this version does not read.
    #[error(
        "{} has journal format {found}, this version reads format {supported}; open it with the version that wrote it",
        file.display()
    )]
    Version {
        file: PathBuf,
        found: u32,
        supported: u32,
    },

    /// No space is left; nothing acknowledged is lost, the operation may be repeated once there is.
    #[error("no space is left to {doing} {}: {source}; free some and repeat", file.display())]
    Full {
        doing: &'static str,
        file: PathBuf,
        source: io::Error,
    },

    /// The disk failed for another reason.
    #[error("could not {doing} {}: {source}", file.display())]
    Io {
        doing: &'static str,
        file: PathBuf,
        source: io::Error,
    },

    /// An earlier write or sync failed, so what the operating system shows need not be what the disk holds.
    #[error("the journal stopped because it {cause}; check the disk, then open the journal again")]
    Poisoned { cause: String },

    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,

    /// The caller asked for something that cannot be.
    #[error("{0}")]
    Argument(String),
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}

impl JournalError {
    /// Wrap an error of the operating system; `doing` completes "could not".
    pub(crate) fn of(doing: &'static str, file: &Path, source: io::Error) -> Self {
        let file = file.to_path_buf();
        if is_full(&source) {
            Self::Full {
                doing,
                file,
                source,
            }
        } else {
            Self::Io {
                doing,
                file,
                source,
            }
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// A quota and a file size limit are a full disk to the caller: the cure and the promise are the same.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

pub(crate) type Result<T> = std::result::Result<T, JournalError>;
