//! S3-compatible endpoint over a local folder.
//!
//! The protocol (requests, signatures, XML) is the crate `s3s`; this crate owns the folder. An object is a plain file at
//! `<root>/<bucket>/<key>`, so that processes of this machine may read and write it by path. What a file cannot carry
//! (ETag, content type, user metadata) lies in `<root>/.meta`, where staged uploads lie as well; a record that no longer
//! fits its file is ignored. Nothing outside of the root is ever touched: all paths go through directory handles that
//! refuse to leave their folder.
//!
//! `keys` maps names, `folder` stores, `listing` walks, `multipart` assembles, `operations` translates, `server` serves.

mod body;
mod conditions;
mod drain;
mod error;
mod folder;
mod keys;
mod listing;
mod multipart;
mod operations;
mod record;
mod server;
mod staging;

pub use error::StartError;
pub use server::{Config, Server};
