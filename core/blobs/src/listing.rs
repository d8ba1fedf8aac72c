//! Keys in order: a lazy walk over the files of a bucket, rolled up by delimiter and cut into pages.
//!
//! S3 sorts whole keys by their bytes. A folder's name sorts with its slash, so "a.txt" comes before "a/b" and the walk
//! needs one folder in memory at a time.

use std::io;
use std::vec::IntoIter;

use cap_std::fs::Dir;
use s3s::S3Result;

use crate::error::{from_io, is_absent};
use crate::folder::{Bucket, Description};
use crate::keys::Key;

/// What a listing is asked for.
pub(crate) struct Query<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) delimiter: &'a str,
    /// Only what sorts after this.
    pub(crate) after: &'a str,
    pub(crate) limit: usize,
}

#[derive(Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Description>,
    pub(crate) prefixes: Vec<String>,
    /// The last key or prefix of the page, if more follows.
    pub(crate) next: Option<String>,
}

/// Collects one page.
pub(crate) fn page(bucket: &Bucket, query: &Query<'_>) -> S3Result<Page> {
    let mut page = Page::default();
    if query.limit == 0 {
        return Ok(page);
    }
    let mut last = String::new();
    let mut walk = Walk::start(bucket, query.prefix, query.after).map_err(from_io)?;
    while let Some(key) = walk.next().map_err(from_io)? {
        let rolled = roll_up(&key, query.prefix, query.delimiter).map(str::to_owned);
        if let Some(prefix) = &rolled {
            walk.skip(prefix);
        }
        let item = rolled.as_ref().unwrap_or(&key);
        if item.as_str() <= query.after {
            continue;
        }
        if page.objects.len() + page.prefixes.len() == query.limit {
            page.next = Some(last);
            return Ok(page);
        }
        match rolled {
            Some(prefix) => {
                last.clone_from(&prefix);
                page.prefixes.push(prefix);
            }
            None => {
                // A file may be gone by now, or be none that a client could name or read.
                let Ok(parsed) = Key::parse(&key) else {
                    continue;
                };
                if let Ok(Some(description)) = bucket.describe(&parsed) {
                    last = key;
                    page.objects.push(description);
                }
            }
        }
    }
    Ok(page)
}

/// The common prefix that stands for the key: up to and with the first delimiter behind the prefix.
pub(crate) fn roll_up<'a>(key: &'a str, prefix: &str, delimiter: &str) -> Option<&'a str> {
    if delimiter.is_empty() {
        return None;
    }
    let start = prefix.len() + key[prefix.len()..].find(delimiter)?;
    Some(&key[..start + delimiter.len()])
}

struct Frame {
    dir: Dir,
    /// The key of the folder, with its slash; empty for the bucket.
    key: String,
    /// Names, those of folders with a slash.
    names: IntoIter<String>,
}

struct Walk<'a> {
    bucket: &'a Bucket,
    prefix: &'a str,
    after: &'a str,
    skipped: Option<String>,
    frames: Vec<Frame>,
    /// The key of a folder just entered that is an object as well.
    marker: Option<String>,
}

impl<'a> Walk<'a> {
    fn start(bucket: &'a Bucket, prefix: &'a str, after: &'a str) -> io::Result<Walk<'a>> {
        let mut walk = Walk {
            bucket,
            prefix,
            after,
            skipped: None,
            frames: Vec::new(),
            marker: None,
        };
        let folder = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
        if folder.is_empty() {
            walk.enter(bucket.dir.try_clone()?, String::new())?;
        } else if let Ok(key) = Key::parse(folder) {
            match bucket.dir.open_dir(key.path()) {
                Ok(dir) => walk.enter(dir, folder.to_owned())?,
                Err(error) if is_absent(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(error),
            }
        }
        Ok(walk)
    }

    fn enter(&mut self, dir: Dir, key: String) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in dir.entries()? {
            let entry = entry?;
            // A name that is not UTF-8 cannot be a key.
            if let Ok(mut name) = entry.file_name().into_string() {
                if entry.file_type()?.is_dir() {
                    name.push('/');
                }
                names.push(name);
            }
        }
        names.sort_unstable();
        if !key.is_empty() && key.starts_with(self.prefix) && self.bucket.has_marker(&key) {
            self.marker = Some(key.clone());
        }
        self.frames.push(Frame {
            dir,
            key,
            names: names.into_iter(),
        });
        Ok(())
    }

    /// Leaves out every further key that starts with the prefix.
    fn skip(&mut self, prefix: &str) {
        while self
            .frames
            .last()
            .is_some_and(|frame| frame.key.starts_with(prefix))
        {
            self.frames.pop();
        }
        self.skipped = Some(prefix.to_owned());
    }

    fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(key) = self.marker.take() {
                return Ok(Some(key));
            }
            let Some(frame) = self.frames.last_mut() else {
                return Ok(None);
            };
            let Some(name) = frame.names.next() else {
                self.frames.pop();
                continue;
            };
            let key = format!("{}{name}", frame.key);
            if self.is_passed_over(&key) {
                continue;
            }
            let frame = &self.frames[self.frames.len() - 1];
            if !name.ends_with('/') {
                return Ok(Some(key));
            }
            match frame.dir.open_dir(&name) {
                Ok(dir) => self.enter(dir, key)?,
                Err(error) if is_absent(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn is_passed_over(&self, key: &str) -> bool {
        if self
            .skipped
            .as_ref()
            .is_some_and(|skipped| key.starts_with(skipped))
        {
            return true;
        }
        if key.ends_with('/') {
            let outside = !key.starts_with(self.prefix) && !self.prefix.starts_with(key);
            outside || (key <= self.after && !self.after.starts_with(key))
        } else {
            !key.starts_with(self.prefix) || key <= self.after
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    struct Fixture {
        _root: tempfile::TempDir,
        bucket: Bucket,
    }

    fn bucket(keys: &[&str]) -> Fixture {
        let root = tempfile::tempdir().unwrap();
        for key in keys {
            let path = root.path().join("data").join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, key).unwrap();
        }
        let folder = Folder::open(root.path(), false).unwrap();
        let _ = folder.create_bucket("data");
        Fixture {
            bucket: folder.bucket("data").unwrap(),
            _root: root,
        }
    }

    /// All pages of a listing as one list of keys and prefixes, in the order they came.
    fn list(fixture: &Fixture, prefix: &str, delimiter: &str, limit: usize) -> Vec<String> {
        let mut items = Vec::new();
        let mut after = String::new();
        loop {
            let query = Query {
                prefix,
                delimiter,
                after: &after,
                limit,
            };
            let page = page(&fixture.bucket, &query).unwrap();
            let mut found: Vec<String> = page.objects.into_iter().map(|found| found.key).collect();
            found.extend(page.prefixes);
            found.sort();
            assert!(found.len() <= limit);
            items.extend(found);
            match page.next {
                Some(next) => after = next,
                None => return items,
            }
        }
    }

    const KEYS: [&str; 9] = [
        "a-b", "a.txt", "a/b/c", "a/b/d", "a/e", "a0", "b/c", "é/ü", "z",
    ];

    #[test]
    fn keys_come_in_the_order_of_their_bytes() {
        let fixture = bucket(&KEYS);
        let mut sorted = KEYS.to_vec();
        sorted.sort_unstable();
        for limit in [1, 2, 3, 100] {
            assert_eq!(list(&fixture, "", "", limit), sorted, "{limit} a page");
        }
    }

    #[test]
    fn prefixes_need_not_end_at_a_slash() {
        let fixture = bucket(&KEYS);
        assert_eq!(list(&fixture, "a/", "", 2), ["a/b/c", "a/b/d", "a/e"]);
        assert_eq!(list(&fixture, "a/b", "", 1), ["a/b/c", "a/b/d"]);
        assert_eq!(list(&fixture, "a", "", 9).len(), 6);
        for nothing in ["x", "a/x", "a/b/c/", "z/", "../", "//", "a/../"] {
            assert!(list(&fixture, nothing, "", 9).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn delimiters_roll_up_once_over_all_pages() {
        let fixture = bucket(&KEYS);
        for limit in [1, 2, 100] {
            let top = list(&fixture, "", "/", limit);
            assert_eq!(top, ["a-b", "a.txt", "a/", "a0", "b/", "z", "é/"]);
            assert_eq!(list(&fixture, "a/", "/", limit), ["a/b/", "a/e"]);
            assert_eq!(list(&fixture, "a", "-", limit).first().unwrap(), "a-");
        }
    }

    #[test]
    fn empty_folders_and_links_to_folders_do_not_show() {
        let fixture = bucket(&["a/b"]);
        fixture.bucket.dir.create_dir_all("empty/deep").unwrap();
        fixture.bucket.dir.symlink("a", "link").unwrap();
        assert_eq!(list(&fixture, "", "", 9), ["a/b"]);
        assert_eq!(list(&fixture, "", "/", 9), ["a/"]);
    }

    #[test]
    fn no_keys_are_asked_for() {
        let query = Query {
            prefix: "",
            delimiter: "",
            after: "",
            limit: 0,
        };
        let page = page(&bucket(&KEYS).bucket, &query).unwrap();
        assert!(page.objects.is_empty() && page.next.is_none());
    }
}
