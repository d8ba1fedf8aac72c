//! Conditional requests (RFC 9110 section 13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use s3s::dto::{ETag, ETagCondition, Timestamp, TimestampFormat};
use s3s::{S3Error, S3Result, s3_error};

use crate::record::strong;

/// The conditions of a reading request.
#[derive(Default)]
pub(crate) struct ReadConditions {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
    pub(crate) if_modified_since: Option<Timestamp>,
    pub(crate) if_unmodified_since: Option<Timestamp>,
}

impl ReadConditions {
    /// Judges the object that was found; an ETag condition outranks the date beside it.
    pub(crate) fn check(&self, etag: &str, modified: SystemTime) -> S3Result<()> {
        let current = strong(etag);
        let held = match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) => matches(condition, &current),
            (None, Some(limit)) => !is_after(modified, limit),
            (None, None) => true,
        };
        if !held {
            return Err(s3_error!(PreconditionFailed));
        }
        let changed = match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) => !matches(condition, &current),
            (None, Some(limit)) => is_after(modified, limit),
            (None, None) => true,
        };
        if changed {
            Ok(())
        } else {
            Err(not_modified(&current))
        }
    }
}

/// The conditions of a writing request.
#[derive(Default)]
pub(crate) struct WriteConditions {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
}

impl WriteConditions {
    pub(crate) fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Judges what stands in the place to write to.
    pub(crate) fn check(&self, present: Option<&str>) -> S3Result<()> {
        let etag = present.map(strong);
        if let Some(condition) = &self.if_match {
            match &etag {
                None => return Err(s3_error!(NoSuchKey)),
                Some(etag) if !matches(condition, etag) => {
                    return Err(s3_error!(PreconditionFailed));
                }
                Some(_) => {}
            }
        }
        match (&self.if_none_match, &etag) {
            (Some(condition), Some(etag)) if matches(condition, etag) => {
                Err(s3_error!(PreconditionFailed))
            }
            _ => Ok(()),
        }
    }
}

fn matches(condition: &ETagCondition, current: &ETag) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.weak_cmp(current),
    }
}

/// HTTP dates have whole seconds, so an object of the same second counts as not modified since.
fn is_after(modified: SystemTime, limit: &Timestamp) -> bool {
    let mut text = Vec::new();
    if limit
        .format(TimestampFormat::EpochSeconds, &mut text)
        .is_err()
    {
        return true;
    }
    let seconds = str::from_utf8(&text)
        .ok()
        .and_then(|text| text.parse::<f64>().ok())
        .unwrap_or(0.0);
    let modified = modified
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    modified.as_secs() > seconds.max(0.0) as u64
}

fn not_modified(current: &ETag) -> S3Error {
    let mut error = s3_error!(NotModified);
    if let Ok(value) = current.to_http_header() {
        error.set_headers([(hyper::header::ETAG, value)].into_iter().collect());
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::S3ErrorCode;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn etag(text: &str) -> Option<ETagCondition> {
        Some(ETagCondition::ETag(strong(text)))
    }

    fn code(result: S3Result<()>) -> Option<S3ErrorCode> {
        result.err().map(|error| error.code().clone())
    }

    #[test]
    fn reading_by_etag() {
        let mut conditions = ReadConditions {
            if_none_match: etag("a"),
            ..Default::default()
        };
        assert_eq!(
            code(conditions.check("a", at(5))),
            Some(S3ErrorCode::NotModified)
        );
        assert_eq!(code(conditions.check("b", at(5))), None);
        conditions.if_match = etag("a");
        assert_eq!(
            code(conditions.check("b", at(5))),
            Some(S3ErrorCode::PreconditionFailed)
        );
    }

    #[test]
    fn reading_by_date_counts_whole_seconds() {
        let since = |seconds| ReadConditions {
            if_modified_since: Some(Timestamp::from(at(seconds))),
            ..Default::default()
        };
        let modified = at(5) + Duration::from_millis(300);
        assert_eq!(
            code(since(5).check("a", modified)),
            Some(S3ErrorCode::NotModified)
        );
        assert_eq!(code(since(4).check("a", modified)), None);
        let until = |seconds| ReadConditions {
            if_unmodified_since: Some(Timestamp::from(at(seconds))),
            ..Default::default()
        };
        assert_eq!(code(until(5).check("a", modified)), None);
        assert_eq!(
            code(until(4).check("a", modified)),
            Some(S3ErrorCode::PreconditionFailed)
        );
    }

    #[test]
    fn an_etag_outranks_a_date() {
        let conditions = ReadConditions {
            if_none_match: etag("b"),
            if_modified_since: Some(Timestamp::from(at(9))),
            ..Default::default()
        };
        assert_eq!(code(conditions.check("a", at(5))), None);
    }

    #[test]
    fn writing() {
        let once = WriteConditions {
            if_none_match: Some(ETagCondition::Any),
            ..Default::default()
        };
        assert_eq!(code(once.check(None)), None);
        assert_eq!(
            code(once.check(Some("a"))),
            Some(S3ErrorCode::PreconditionFailed)
        );
        let over = WriteConditions {
            if_match: etag("a"),
            ..Default::default()
        };
        assert_eq!(code(over.check(Some("a"))), None);
        assert_eq!(
            code(over.check(Some("b"))),
            Some(S3ErrorCode::PreconditionFailed)
        );
        assert_eq!(code(over.check(None)), Some(S3ErrorCode::NoSuchKey));
    }
}
