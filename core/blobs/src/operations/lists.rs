//! Listings as S3's two generations of messages show them.

use s3s::dto::*;
use s3s::{S3Result, s3_error};

use super::page_limit;
use crate::folder::{Description, Folder};
use crate::listing::{Page, Query, page, roll_up};
use crate::multipart;
use crate::record::strong;

pub(super) fn objects(folder: &Folder, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
    let limit = page_limit(input.max_keys)?;
    let found = find(
        folder,
        &input.bucket,
        input.prefix.as_deref(),
        input.delimiter.as_deref(),
        input.marker.as_deref().unwrap_or(""),
        limit,
    )?;
    let encoding = Encoding::of(input.encoding_type);
    // Without a delimiter the client takes the last key as its next marker.
    let next = found.next.as_deref().filter(|_| input.delimiter.is_some());
    Ok(ListObjectsOutput {
        next_marker: next.map(|next| encoding.text(next)),
        is_truncated: Some(found.next.is_some()),
        contents: Some(encoding.objects(found.objects)),
        common_prefixes: Some(encoding.prefixes(found.prefixes)),
        name: Some(input.bucket),
        prefix: Some(encoding.text(&input.prefix.unwrap_or_default())),
        marker: Some(encoding.text(&input.marker.unwrap_or_default())),
        delimiter: input.delimiter.map(|text| encoding.text(&text)),
        max_keys: Some(limit as i32),
        encoding_type: encoding.name(),
        ..Default::default()
    })
}

pub(super) fn objects_v2(
    folder: &Folder,
    input: ListObjectsV2Input,
) -> S3Result<ListObjectsV2Output> {
    let limit = page_limit(input.max_keys)?;
    let token = input.continuation_token.as_deref().map(parse_token);
    let token = token.transpose()?;
    let after = token.as_deref().or(input.start_after.as_deref());
    let found = find(
        folder,
        &input.bucket,
        input.prefix.as_deref(),
        input.delimiter.as_deref(),
        after.unwrap_or(""),
        limit,
    )?;
    let encoding = Encoding::of(input.encoding_type);
    Ok(ListObjectsV2Output {
        key_count: Some((found.objects.len() + found.prefixes.len()) as i32),
        next_continuation_token: found.next.as_deref().map(token_of),
        is_truncated: Some(found.next.is_some()),
        contents: Some(encoding.objects(found.objects)),
        common_prefixes: Some(encoding.prefixes(found.prefixes)),
        name: Some(input.bucket),
        prefix: Some(encoding.text(&input.prefix.unwrap_or_default())),
        delimiter: input.delimiter.map(|text| encoding.text(&text)),
        start_after: input.start_after.map(|text| encoding.text(&text)),
        continuation_token: input.continuation_token,
        max_keys: Some(limit as i32),
        encoding_type: encoding.name(),
        ..Default::default()
    })
}

fn find(
    folder: &Folder,
    bucket: &str,
    prefix: Option<&str>,
    delimiter: Option<&str>,
    after: &str,
    limit: usize,
) -> S3Result<Page> {
    let query = Query {
        prefix: prefix.unwrap_or(""),
        delimiter: delimiter.unwrap_or(""),
        after,
        limit,
    };
    page(&folder.bucket(bucket)?, &query)
}

pub(super) fn uploads(
    folder: &Folder,
    input: ListMultipartUploadsInput,
) -> S3Result<ListMultipartUploadsOutput> {
    folder.bucket(&input.bucket)?;
    let limit = page_limit(input.max_uploads)?;
    let encoding = Encoding::of(input.encoding_type);
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.clone().unwrap_or_default();
    let marker = input.key_marker.clone().unwrap_or_default();
    let id_marker = input.upload_id_marker.clone().unwrap_or_default();
    let (mut shown, mut prefixes) = (Vec::new(), Vec::<String>::new());
    let mut last = (String::new(), String::new());
    let mut is_truncated = false;
    for upload in multipart::list(folder, &input.bucket)? {
        let seen = if id_marker.is_empty() {
            upload.key <= marker
        } else {
            (&upload.key, &upload.id) <= (&marker, &id_marker)
        };
        if seen || !upload.key.starts_with(&prefix) {
            continue;
        }
        let rolled = roll_up(&upload.key, &prefix, &delimiter);
        if rolled.is_some_and(|rolled| {
            rolled <= marker.as_str() || prefixes.last().is_some_and(|last| last == rolled)
        }) {
            continue;
        }
        if shown.len() + prefixes.len() == limit {
            is_truncated = true;
            break;
        }
        if let Some(rolled) = rolled {
            last = (rolled.to_owned(), String::new());
            prefixes.push(rolled.to_owned());
        } else {
            last = (upload.key.clone(), upload.id.clone());
            shown.push(MultipartUpload {
                key: Some(encoding.text(&upload.key)),
                upload_id: Some(upload.id),
                initiated: Some(upload.initiated.into()),
                ..Default::default()
            });
        }
    }
    let (next_key, next_id) = last;
    Ok(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        uploads: Some(shown),
        common_prefixes: Some(encoding.prefixes(prefixes)),
        is_truncated: Some(is_truncated),
        next_key_marker: is_truncated.then(|| encoding.text(&next_key)),
        next_upload_id_marker: Some(next_id).filter(|id| is_truncated && !id.is_empty()),
        prefix: Some(encoding.text(&prefix)),
        delimiter: input.delimiter.map(|text| encoding.text(&text)),
        key_marker: Some(encoding.text(&marker)),
        upload_id_marker: input.upload_id_marker,
        max_uploads: Some(limit as i32),
        encoding_type: encoding.name(),
        ..Default::default()
    })
}

/// XML cannot carry every character of a key, so clients may ask for percent-encoded text.
struct Encoding {
    asked: Option<EncodingType>,
}

impl Encoding {
    fn of(asked: Option<EncodingType>) -> Encoding {
        Encoding {
            asked: asked.filter(|asked| asked.as_str() == EncodingType::URL),
        }
    }

    fn name(&self) -> Option<EncodingType> {
        self.asked.clone()
    }

    fn text(&self, text: &str) -> String {
        if self.asked.is_none() {
            return text.to_owned();
        }
        let mut encoded = String::with_capacity(text.len());
        for byte in text.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                    encoded.push(char::from(byte));
                }
                _ => encoded.push_str(&format!("%{byte:02X}")),
            }
        }
        encoded
    }

    fn objects(&self, found: Vec<Description>) -> Vec<Object> {
        let object = |found: Description| Object {
            key: Some(self.text(&found.key)),
            size: Some(found.size as i64),
            e_tag: Some(strong(&found.etag)),
            last_modified: Some(found.modified.into()),
            storage_class: Some(ObjectStorageClass::from_static(
                ObjectStorageClass::STANDARD,
            )),
            ..Default::default()
        };
        found.into_iter().map(object).collect()
    }

    fn prefixes(&self, found: Vec<String>) -> Vec<CommonPrefix> {
        let prefix = |found: String| CommonPrefix {
            prefix: Some(self.text(&found)),
        };
        found.into_iter().map(prefix).collect()
    }
}

/// Where a listing goes on, in characters that survive every client.
fn token_of(next: &str) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(next)
}

fn parse_token(token: &str) -> S3Result<String> {
    base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is not one of ours"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_carry_any_key() {
        for key in ["a", "a/b c", "ключ\u{1}", ""] {
            assert_eq!(parse_token(&token_of(key)).unwrap(), key);
        }
        assert!(parse_token("%%%").is_err());
    }

    #[test]
    fn text_is_encoded_when_asked_for() {
        let plain = Encoding::of(None);
        assert_eq!(plain.text("a b/é"), "a b/é");
        let url = Encoding::of(Some(EncodingType::from_static(EncodingType::URL)));
        assert_eq!(url.text("a b/é+%\n"), "a%20b/%C3%A9%2B%25%0A");
    }
}
