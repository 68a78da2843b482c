//! The latest frames of one run, shared by all its readers. Places count from the first frame that
//! was ever pushed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use runloom_core::event::{EventId, StreamMode};

/// How much a gateway remembers of what it streams.
#[derive(Clone, Copy, Debug)]
pub struct RingLimits {
    /// Frames of a run that are kept although everybody has read them, for who comes back soon.
    pub kept_frames: usize,
    /// The same in bytes.
    pub kept_bytes: usize,
    /// How many frames a reader may lag behind before it is cut loose.
    pub lag_frames: usize,
    /// The same in bytes.
    pub lag_bytes: usize,
    /// Bytes kept for all runs together, beyond which slow readers of any run are cut loose early.
    pub total_bytes: usize,
}

impl Default for RingLimits {
    fn default() -> Self {
        Self {
            kept_frames: 512,
            kept_bytes: 256 << 10,
            lag_frames: 8_192,
            lag_bytes: 8 << 20,
            total_bytes: 64 << 20,
        }
    }
}

/// One event, encoded once for all who read it.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Its id, whether or not it is written in the frame.
    pub(crate) id: EventId,
    /// The mode it belongs to; none for those that everybody gets.
    pub(crate) mode: Option<StreamMode>,
    /// Whether it says that the run failed.
    pub(crate) is_error: bool,
    /// The frame.
    pub(crate) bytes: Bytes,
}

/// What a reader finds at its place.
#[derive(Debug)]
pub(super) enum Found {
    Frame(Frame),
    /// Nothing yet, or nothing any more.
    Nothing,
    /// The frame is no longer there: the reader was too slow.
    Behind,
}

/// Names a reader within its ring.
pub(super) type ReaderKey = u64;

pub(super) struct Ring {
    limits: RingLimits,
    /// Bytes of all rings of this gateway.
    total: Arc<AtomicUsize>,
    frames: VecDeque<Frame>,
    /// The place of the first frame that is still here.
    first: u64,
    bytes: usize,
    /// Whether place 0 is the first event of the run.
    whole: bool,
    places: HashMap<ReaderKey, u64>,
    next_key: ReaderKey,
}

impl Ring {
    pub(super) fn new(limits: RingLimits, total: Arc<AtomicUsize>, whole: bool) -> Self {
        Self {
            limits,
            total,
            frames: VecDeque::new(),
            first: 0,
            bytes: 0,
            whole,
            places: HashMap::new(),
            next_key: 0,
        }
    }

    /// Says that events may have been missed before the next frame.
    pub(super) fn not_whole(&mut self) {
        self.whole = false;
    }

    pub(super) fn push(&mut self, frame: Frame) {
        self.bytes += frame.bytes.len();
        self.total.fetch_add(frame.bytes.len(), Ordering::Relaxed);
        self.frames.push_back(frame);
        self.trim();
    }

    /// Drops what all have read beyond what is kept, then what is too much even so.
    fn trim(&mut self) {
        let limits = self.limits;
        if self.exceeds(limits.kept_frames, limits.kept_bytes) {
            let slowest = self.places.values().min().copied();
            let read = slowest.unwrap_or_else(|| self.end());
            while self.first < read && self.exceeds(limits.kept_frames, limits.kept_bytes) {
                self.drop_first();
            }
        }
        let crowded = self.total.load(Ordering::Relaxed) > limits.total_bytes;
        let (frames, bytes) = if crowded {
            (limits.kept_frames, limits.kept_bytes)
        } else {
            (limits.lag_frames, limits.lag_bytes)
        };
        while self.frames.len() > 1 && self.exceeds(frames, bytes) {
            self.drop_first();
        }
    }

    fn exceeds(&self, frames: usize, bytes: usize) -> bool {
        self.frames.len() > frames || self.bytes > bytes
    }

    fn drop_first(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.first += 1;
            self.bytes -= frame.bytes.len();
            self.total.fetch_sub(frame.bytes.len(), Ordering::Relaxed);
        }
    }

    /// Drops everything; who has not read it is behind.
    pub(super) fn clear(&mut self) {
        while !self.frames.is_empty() {
            self.drop_first();
        }
    }

    /// The place of the next frame to come.
    fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    /// Adds a reader of what comes next.
    pub(super) fn join_now(&mut self) -> ReaderKey {
        self.join_at(self.end())
    }

    /// Adds a reader of everything after `id`, or from the start of the run; `None` if the ring does
    /// not reach back so far, or has not come as far yet: it would then say `id` again.
    pub(super) fn join_after(&mut self, id: Option<EventId>) -> Option<ReaderKey> {
        let from_start = self.whole && self.first == 0;
        let read = match id {
            None if from_start => 0,
            None => return None,
            Some(id) => {
                let reaches_back = self.frames.front().is_some_and(|frame| frame.id <= id);
                let has_come_as_far = self.frames.back().is_some_and(|frame| frame.id >= id);
                if !has_come_as_far || !(reaches_back || from_start) {
                    return None;
                }
                self.frames.partition_point(|frame| frame.id <= id)
            }
        };
        Some(self.join_at(self.first + read as u64))
    }

    fn join_at(&mut self, place: u64) -> ReaderKey {
        let key = self.next_key;
        self.next_key += 1;
        self.places.insert(key, place);
        key
    }

    pub(super) fn leave(&mut self, key: ReaderKey) {
        self.places.remove(&key);
    }

    /// What `key` finds at its place, which moves on.
    pub(super) fn read(&mut self, key: ReaderKey) -> Found {
        let Some(place) = self.places.get_mut(&key) else {
            return Found::Behind;
        };
        let Some(index) = place.checked_sub(self.first) else {
            return Found::Behind;
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        match self.frames.get(index) {
            Some(frame) => {
                *place += 1;
                Found::Frame(frame.clone())
            }
            None => Found::Nothing,
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: RingLimits = RingLimits {
        kept_frames: 2,
        kept_bytes: 1_000,
        lag_frames: 4,
        lag_bytes: 1_000,
        total_bytes: 1_000,
    };

    fn ring(limits: RingLimits, whole: bool) -> Ring {
        Ring::new(limits, Arc::default(), whole)
    }

    fn frame(number: u64, size: usize) -> Frame {
        Frame {
            id: EventId { millis: 1, number },
            mode: None,
            is_error: false,
            bytes: vec![b'x'; size].into(),
        }
    }

    fn id(number: u64) -> EventId {
        EventId { millis: 1, number }
    }

    fn numbers(ring: &mut Ring, key: ReaderKey) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Found::Frame(frame) = ring.read(key) {
            numbers.push(frame.id.number);
        }
        numbers
    }

    #[test]
    fn readers_go_at_their_own_pace() {
        let mut ring = ring(SMALL, true);
        let early = ring.join_now();
        ring.push(frame(0, 1));
        let late = ring.join_now();
        ring.push(frame(1, 1));
        assert_eq!(numbers(&mut ring, late), [1]);
        assert_eq!(numbers(&mut ring, early), [0, 1]);
        assert!(matches!(ring.read(early), Found::Nothing));
    }

    #[test]
    fn what_all_have_read_is_dropped_and_what_one_has_not_is_kept_for_a_while() {
        let mut ring = ring(SMALL, true);
        let (fast, slow) = (ring.join_now(), ring.join_now());
        for number in 0..4 {
            ring.push(frame(number, 1));
            numbers(&mut ring, fast);
        }
        assert_eq!(ring.frames.len(), 4, "the slow reader still needs them");
        ring.push(frame(4, 1));
        assert!(matches!(ring.read(slow), Found::Behind));
        assert_eq!(numbers(&mut ring, fast), [4]);
        ring.leave(slow);
        ring.push(frame(5, 1));
        assert_eq!(ring.frames.len(), SMALL.kept_frames);
    }

    #[test]
    fn bytes_count_too_but_the_latest_frame_always_stays() {
        let mut ring = ring(SMALL, true);
        let reader = ring.join_now();
        ring.push(frame(0, 600));
        ring.push(frame(1, 600));
        assert!(matches!(ring.read(reader), Found::Behind));
        ring.push(frame(2, 5_000));
        assert_eq!(ring.frames.len(), 1);
        assert_eq!(ring.bytes, 5_000);
    }

    #[test]
    fn a_crowded_gateway_has_less_patience() {
        let total = Arc::new(AtomicUsize::new(990));
        let mut ring = Ring::new(SMALL, total.clone(), true);
        let slow = ring.join_now();
        for number in 0..3 {
            ring.push(frame(number, 5));
        }
        assert!(matches!(ring.read(slow), Found::Behind));
        drop(ring);
        assert_eq!(total.load(Ordering::Relaxed), 990);
    }

    #[test]
    fn a_resumed_reader_continues_after_its_id_if_the_ring_reaches_back_to_it() {
        let mut ring = ring(SMALL, false);
        let behind = ring.join_now();
        for number in 3..6 {
            ring.push(frame(number, 1));
        }
        assert!(ring.join_after(None).is_none(), "it did not see the start");
        assert!(ring.join_after(Some(id(2))).is_none());
        let resumed = ring.join_after(Some(id(3))).unwrap();
        assert_eq!(numbers(&mut ring, resumed), [4, 5]);
        let current = ring.join_after(Some(id(5))).unwrap();
        assert!(matches!(ring.read(current), Found::Nothing));
        ring.leave(behind);
    }

    #[test]
    fn a_reader_that_is_ahead_of_the_ring_does_not_join_it_yet() {
        let mut ring = ring(SMALL, false);
        ring.push(frame(0, 1));
        assert_eq!(ring.join_after(Some(id(1))), None, "it would hear 1 again");
        ring.push(frame(1, 1));
        let key = ring.join_after(Some(id(1))).unwrap();
        ring.push(frame(2, 1));
        assert_eq!(numbers(&mut ring, key), [2]);
    }

    #[test]
    fn a_ring_that_saw_the_start_serves_it_until_it_is_dropped() {
        let mut ring = ring(SMALL, true);
        let first = ring.join_after(None).unwrap();
        ring.push(frame(0, 1));
        let second = ring
            .join_after(Some(EventId {
                millis: 0,
                number: 0,
            }))
            .unwrap();
        assert_eq!(numbers(&mut ring, first), [0]);
        assert_eq!(numbers(&mut ring, second), [0]);
        for number in 1..9 {
            ring.push(frame(number, 1));
        }
        assert!(ring.join_after(None).is_none());
    }
}
