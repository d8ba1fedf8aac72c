//! Append-only journal of opaque blocks: what `commit` has acknowledged is there after any crash, or `open` says so.
//!
//! This crate is the only one of the durability path that touches a disk. It knows nothing of graphs: a block is bytes
//! with a sequence number counted from 1. `journal.rs` is the writer, `recovery.rs` decides what a crash left behind,
//! `replay.rs` streams blocks back, `snapshot.rs` keeps states, `disk.rs` is the one door to the file system and is a
//! trait so that tests can tear writes, fill disks and flip bits.
//!
//! A journal folder holds
//!
//! - `lock`, held with flock(2) while the journal is open; its text is the owner's process id;
//! - `segment-<index>.journal`, counted from 1 without holes, never removed; space is reserved when one is created and
//!   turned into written zeros ahead of the blocks, because an fdatasync that must also update metadata costs several
//!   times as much;
//! - `snapshot-<sequence>.state`, the newest two;
//! - `*.partial`, a file that was being made when the process died; removed by `open`.
//!
//! **How a crash differs from rot.** A commit is one write into zeros, made durable before the next begins, so a crash
//! can only leave the last commit of the last segment incomplete, and what is missing reads as zeros: a suffix, or
//! whole sectors in any order. `open` cuts exactly that. A bad block without such a hole, or with a later commit behind
//! it, was whole once, perhaps acknowledged: `open` refuses with the file and the offset.

mod block;
mod disk;
mod error;
mod journal;
mod lock;
mod reader;
mod recovery;
mod replay;
mod segment;
mod snapshot;

pub use block::PAYLOAD_BYTES_MAX;
pub use disk::{Disk, DiskFile, FolderDisk};
pub use error::JournalError;
pub use journal::{Journal, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MIN};
pub use lock::FolderLock;
pub use replay::Replay;
