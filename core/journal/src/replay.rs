//! Streams durable blocks back, in order, checking every one.

use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Result;
use crate::reader::{FIRST, Found, read};
use crate::segment::Segment;

/// An iterator over (sequence, payload) of the blocks after a sequence, as of when it was made.
pub struct Replay {
    disk: Arc<dyn Disk>,
    segments: Vec<Segment>,
    place: usize,
    offset: u64,
    next: u64,
    after: u64,
    last: u64,
}

impl Replay {
    pub(crate) fn new(disk: Arc<dyn Disk>, segments: Vec<Segment>, after: u64, last: u64) -> Self {
        let place = segments
            .iter()
            .rposition(|segment| segment.first_sequence <= after + 1)
            .unwrap_or(0);
        let next = segments
            .get(place)
            .map_or(1, |segment| segment.first_sequence);
        Replay {
            disk,
            segments,
            place,
            offset: FIRST,
            next,
            after,
            last,
        }
    }

    fn step(&mut self) -> Result<Option<(u64, Vec<u8>)>> {
        while self.next <= self.last {
            let segment = &self.segments[self.place];
            match read(&*self.disk, segment, self.offset)? {
                Found::Block {
                    header,
                    stored,
                    end,
                } => {
                    if header.sequence != self.next {
                        let reason = format!(
                            "block {} stands where {} belongs",
                            header.sequence, self.next
                        );
                        return Err(segment.corrupt(&*self.disk, self.offset, reason));
                    }
                    let offset = self.offset;
                    self.offset = end;
                    self.next += 1;
                    if header.sequence > self.after {
                        let payload = header
                            .payload(&stored)
                            .map_err(|reason| segment.corrupt(&*self.disk, offset, reason))?;
                        return Ok(Some((header.sequence, payload)));
                    }
                }
                Found::Nothing if self.continues_in_next() => {
                    self.place += 1;
                    self.offset = FIRST;
                }
                _ => {
                    let reason = format!("block {} is not what was written", self.next);
                    return Err(segment.corrupt(&*self.disk, self.offset, reason));
                }
            }
        }
        Ok(None)
    }

    fn continues_in_next(&self) -> bool {
        self.segments
            .get(self.place + 1)
            .is_some_and(|segment| segment.first_sequence == self.next)
    }
}

impl Iterator for Replay {
    type Item = Result<(u64, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.last = 0;
        }
        step.transpose()
    }
}
