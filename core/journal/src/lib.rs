//! Append-only journal of opaque blocks.
