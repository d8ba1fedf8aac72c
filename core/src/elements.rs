//! The elements of one map as columns: a byte for the phase, one for what failed, and nothing for what was not launched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::phase::Phase;
use crate::run::Failures;

/// The bit of a phase's byte that says that the current attempt, which has not ended, has started.
const STARTED: u8 = 1 << 7;
/// The byte of failures that says that they are kept in `more`.
const MANY: u8 = u8::MAX;
/// Retries that fit half a byte.
const FEW_MAX: u32 = 14;

/// The elements of an open map; those from `launched` on are UNDEFINED and take no memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Elements {
    pub(crate) size: u32,
    /// How many may be under way at once; 0 is no limit.
    pub(crate) parallelism: u32,
    pub(crate) min_successes: u32,
    /// The number of everyone's first attempt.
    base: u32,
    /// Phase and flag by element, as far as they were launched.
    bytes: Vec<u8>,
    /// Attempts that were followed by another, the user's in the upper half; empty until there is one.
    retries: Vec<u8>,
    more: BTreeMap<u32, Failures>,
    pub(crate) succeeded: u32,
    pub(crate) failed: u32,
    /// Launched and not ended.
    pub(crate) active: u32,
    /// Whether every element has ended and the outputs are awaited.
    pub(crate) resolves: bool,
}

/// How many elements of a map stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MapCounts {
    pub size: u32,
    pub launched: u32,
    pub succeeded: u32,
    pub failed: u32,
    pub active: u32,
}

/// Whether all of some elements are under way. Bytes are put together without looking at any of them alone, which the
/// compiler does for many at a time.
fn are_under_way(bytes: &[u8]) -> bool {
    const FIRST: u8 = Phase::Queued as u8;
    const { assert!(Phase::Running as u8 == FIRST + 1) };
    let other = |found: u8, byte: &u8| found | ((byte & !STARTED).wrapping_sub(FIRST) & !1);
    bytes
        .chunks(4096)
        .all(|some| some.iter().fold(0, other) == 0)
}

impl Elements {
    pub(crate) fn new(size: u32, parallelism: u32, min_successes: u32, base: u32) -> Self {
        Elements {
            size,
            parallelism,
            min_successes,
            base,
            ..Elements::default()
        }
    }

    pub(crate) fn base(&self) -> u32 {
        self.base
    }

    pub(crate) fn launched(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// How many have ended for good while the map went on.
    #[inline]
    pub(crate) fn ended(&self) -> u32 {
        self.succeeded + self.failed
    }

    /// Whether enough can still succeed.
    pub(crate) fn can_succeed(&self) -> bool {
        self.size - self.failed >= self.min_successes
    }

    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.launched() < self.size && (self.parallelism == 0 || self.active < self.parallelism)
    }

    #[inline]
    pub(crate) fn phase(&self, element: u32) -> Phase {
        self.bytes
            .get(element as usize)
            .and_then(|byte| Phase::from_u8(byte & !STARTED))
            .unwrap_or(Phase::Undefined)
    }

    #[inline]
    pub(crate) fn is_started(&self, element: u32) -> bool {
        self.bytes[element as usize] & STARTED != 0
    }

    pub(crate) fn set_started(&mut self, element: u32) {
        self.bytes[element as usize] |= STARTED;
    }

    /// Launches the next element; returns which it is. There must be room.
    #[inline]
    pub(crate) fn launch(&mut self) -> u32 {
        let element = self.bytes.len();
        if element == self.bytes.capacity() {
            // Doubling would cost up to a byte an element.
            let rest = self.size as usize - element;
            self.bytes.reserve_exact((element / 8 + 64).min(rest));
        }
        self.bytes.push(Phase::Queued as u8);
        self.active += 1;
        element as u32
    }

    /// Takes a launched element to a phase and counts its end.
    #[inline]
    pub(crate) fn set_phase(&mut self, element: u32, phase: Phase) {
        let byte = &mut self.bytes[element as usize];
        *byte = *byte & STARTED | phase as u8;
        if phase.is_terminal() {
            *byte = phase as u8;
            self.active -= 1;
            self.succeeded += u32::from(phase.is_good());
            self.failed += u32::from(phase.is_broken());
        }
    }

    /// Takes elements that are all under way in an attempt to SUCCEEDED; false, and nothing changed, if they are not.
    pub(crate) fn succeed_all(&mut self, first: u32, last: u32, attempt: u32) -> bool {
        let count = last - first + 1;
        let is_current = match self.retries.is_empty() {
            true => self.base == attempt,
            false => (first..=last).all(|element| self.attempt(element) == attempt),
        };
        let Some(bytes) = self.bytes.get_mut(first as usize..=last as usize) else {
            return false;
        };
        if !is_current || !are_under_way(bytes) {
            return false;
        }
        bytes.fill(Phase::Succeeded as u8);
        self.active -= count;
        self.succeeded += count;
        true
    }

    /// How often an element was tried again.
    #[inline]
    pub(crate) fn retries(&self, element: u32) -> Failures {
        match self.retries.get(element as usize).copied().unwrap_or(0) {
            MANY => self.more.get(&element).copied().unwrap_or_default(),
            few => Failures {
                user: u32::from(few >> 4),
                system: u32::from(few & 15),
            },
        }
    }

    #[inline]
    pub(crate) fn attempt(&self, element: u32) -> u32 {
        if self.retries.is_empty() {
            return self.base;
        }
        let retries = self.retries(element);
        self.base + retries.user + retries.system
    }

    /// Counts that an element is tried again.
    pub(crate) fn try_again(&mut self, element: u32, is_users: bool) {
        let mut retries = self.retries(element);
        retries.user += u32::from(is_users);
        retries.system += u32::from(!is_users);
        if self.retries.len() <= element as usize {
            let launched = self.bytes.len();
            self.retries.reserve_exact(launched - self.retries.len());
            self.retries.resize(launched, 0);
        }
        self.retries[element as usize] = if retries.user.max(retries.system) > FEW_MAX {
            self.more.insert(element, retries);
            MANY
        } else {
            (retries.user << 4 | retries.system) as u8
        };
        self.bytes[element as usize] &= !STARTED;
    }

    /// The first attempt number that no element has used.
    pub(crate) fn next_base(&self) -> u32 {
        let launched = (0..self.launched()).map(|element| self.attempt(element) + 1);
        launched.max().unwrap_or(self.base)
    }

    pub(crate) fn counts(&self) -> MapCounts {
        MapCounts {
            size: self.size,
            launched: self.launched(),
            succeeded: self.succeeded,
            failed: self.failed,
            active: self.active,
        }
    }

    /// Whether the columns can be what they say.
    pub(crate) fn fits(&self) -> bool {
        let is_known = |byte: &u8| Phase::from_u8(byte & !STARTED).is_some();
        self.bytes.len() <= self.size as usize
            && self.retries.len() <= self.bytes.len()
            && self.bytes.iter().all(is_known)
    }

    /// What the counters say that the columns do not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let count = |is_one: fn(Phase) -> bool| {
            let phases = (0..self.launched()).map(|element| self.phase(element));
            phases.filter(|phase| is_one(*phase)).count() as u32
        };
        let found = [
            count(Phase::is_good),
            count(Phase::is_broken),
            count(|phase| !phase.is_terminal()),
        ];
        let kept = [self.succeeded, self.failed, self.active];
        if found != kept {
            return Err(format!(
                "{found:?} elements succeeded, failed, are active, {kept:?} are counted"
            ));
        }
        if self.parallelism > 0 && self.active > self.parallelism {
            return Err(format!(
                "{} elements are active, {} may",
                self.active, self.parallelism
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_beyond_half_a_byte_are_kept_apart() {
        let mut elements = Elements::new(3, 0, 0, 7);
        let launched: Vec<u32> = (0..3).map(|_| elements.launch()).collect();
        assert_eq!(launched, [0, 1, 2]);
        assert_eq!(elements.phase(2), Phase::Queued);
        for tried in 1..40 {
            elements.try_again(1, tried % 2 == 0);
            assert_eq!(elements.attempt(1), 7 + tried);
            assert_eq!(elements.retries(1).user, tried / 2);
        }
        assert_eq!((elements.attempt(0), elements.attempt(2)), (7, 7));
        assert_eq!(elements.next_base(), 47);
    }

    #[test]
    fn memory_follows_what_was_launched() {
        let mut elements = Elements::new(u32::MAX, 1_000, 0, 0);
        for _ in 0..100_000 {
            let element = elements.launch();
            elements.set_phase(element, Phase::Succeeded);
        }
        assert!(elements.bytes.capacity() < 115_000);
        assert_eq!(elements.retries.capacity(), 0);
    }
}
