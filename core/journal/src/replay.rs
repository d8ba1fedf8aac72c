//! Streams blocks back in order, one buffer's worth in memory at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Result;
use crate::reader::SegmentReader;
use crate::segment::SegmentHeader;

/// Yields (sequence, payload) of the blocks that were durable when it was made; verifies each, ends after an error.
pub struct Replay {
    disk: Arc<dyn Disk>,
    segments: VecDeque<SegmentHeader>,
    reader: Option<SegmentReader>,
    /// The block that the reader stands before.
    expected: u64,
    after: u64,
    last: u64,
}

impl Replay {
    /// `segments` are all of the journal's.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        segments: &[SegmentHeader],
        after: u64,
        last: u64,
    ) -> Self {
        let skipped = segments
            .partition_point(|header| header.first_sequence <= after + 1)
            .saturating_sub(1);
        let segments = segments[skipped..].iter().copied().collect();
        Self {
            disk,
            segments,
            reader: None,
            expected: 0,
            after,
            last,
        }
    }

    fn find_next(&mut self) -> Result<Option<(u64, Vec<u8>)>> {
        while self.reader.is_none() || self.expected <= self.last {
            if self.segment_is_over() {
                let Some(header) = self.segments.pop_front() else {
                    return Ok(None);
                };
                self.reader = Some(SegmentReader::open(&*self.disk, &header)?);
                self.expected = header.first_sequence;
                continue;
            }
            let Some(reader) = &mut self.reader else {
                return Ok(None);
            };
            let sequence = self.expected;
            let Some(header) = reader.next_is(sequence)? else {
                return Err(reader.corrupt(sequence, "nothing stands"));
            };
            self.expected += 1;
            if sequence > self.after {
                let mut payload = Vec::new();
                reader.read_payload(&header, &mut payload)?;
                return Ok(Some((sequence, payload)));
            }
        }
        Ok(None)
    }

    fn segment_is_over(&self) -> bool {
        self.reader.is_none()
            || self
                .segments
                .front()
                .is_some_and(|next| self.expected == next.first_sequence)
    }
}

impl Iterator for Replay {
    type Item = Result<(u64, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.find_next().transpose();
        if !matches!(found, Some(Ok(_))) {
            self.segments.clear();
            (self.expected, self.last) = (1, 0);
        }
        found
    }
}
