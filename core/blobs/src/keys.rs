//! Object keys as paths: which keys a folder can hold, and under which name.

use std::path::{Path, PathBuf};

use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

/// The longest name of a file that common filesystems take, in bytes.
const SEGMENT_BYTES_MAX: usize = 255;

/// A key that names a file below its bucket, or a folder if it ends in a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    text: String,
}

impl Key {
    /// Takes a key as a client sent it; the error says why no file can have this name.
    pub(crate) fn parse(text: &str) -> S3Result<Key> {
        let path = text.strip_suffix('/').unwrap_or(text);
        for segment in path.split('/') {
            check_segment(text, segment)?;
        }
        Ok(Key {
            text: text.to_owned(),
        })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the key stands for a folder itself: clients that think in folders store empty objects of such names.
    pub(crate) fn is_folder(&self) -> bool {
        self.text.ends_with('/')
    }

    /// The path below the bucket.
    pub(crate) fn path(&self) -> &Path {
        Path::new(self.text.trim_end_matches('/'))
    }

    pub(crate) fn parent(&self) -> PathBuf {
        self.path().parent().unwrap_or(Path::new("")).to_owned()
    }
}

fn check_segment(key: &str, segment: &str) -> S3Result<()> {
    if segment.len() > SEGMENT_BYTES_MAX {
        return Err(s3_error!(
            KeyTooLongError,
            "a part of the key between slashes is longer than {SEGMENT_BYTES_MAX} bytes"
        ));
    }
    let reason = match segment {
        "" => "has an empty part between slashes",
        "." | ".." => "has a part that is '.' or '..'",
        _ if segment.contains('\0') => "contains a NUL character",
        _ => return Ok(()),
    };
    let message = format!("the key {key:?} {reason}: it cannot be stored as a file");
    Err(S3Error::with_message(S3ErrorCode::InvalidArgument, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(text: &str) -> S3ErrorCode {
        Key::parse(text).unwrap_err().code().clone()
    }

    #[test]
    fn plain_keys_are_paths() {
        for text in [
            "a",
            "a/b/c.txt",
            ".hidden",
            "..a/b..",
            "a b+c%2F=?&#",
            "ключ/鍵/🔑",
            "a\nb",
        ] {
            let key = Key::parse(text).unwrap();
            assert_eq!(key.text(), text);
            assert_eq!(key.path(), Path::new(text));
            assert!(!key.is_folder());
        }
    }

    #[test]
    fn a_trailing_slash_names_a_folder() {
        let key = Key::parse("a/b/").unwrap();
        assert!(key.is_folder());
        assert_eq!(key.path(), Path::new("a/b"));
        assert_eq!(key.parent(), Path::new("a"));
        assert_eq!(key.text(), "a/b/");
    }

    #[test]
    fn parents() {
        assert_eq!(Key::parse("a").unwrap().parent(), Path::new(""));
        assert_eq!(Key::parse("a/b/c").unwrap().parent(), Path::new("a/b"));
    }

    #[test]
    fn keys_that_would_escape_or_alias_are_refused() {
        for text in [
            "", "/", "/a", "//", "a//b", "a//", ".", "..", "../a", "a/..", "a/../b", "a/./b",
            "./a", "a\0b", "a/../",
        ] {
            assert_eq!(code_of(text), S3ErrorCode::InvalidArgument, "{text:?}");
        }
    }

    #[test]
    fn names_are_counted_in_bytes() {
        assert!(Key::parse(&"a".repeat(255)).is_ok());
        assert_eq!(code_of(&"a".repeat(256)), S3ErrorCode::KeyTooLongError);
        assert!(Key::parse(&format!("a/{}", "é".repeat(127))).is_ok());
        assert_eq!(
            code_of(&format!("a/{}", "é".repeat(128))),
            S3ErrorCode::KeyTooLongError
        );
    }
}
