//! Puts together what is heard and what is read: each event once, in order, gaps named.
//!
//! Events of one attempt are numbered without gaps, so what is missing shows. What is ahead of
//! something missing waits here until that was found, or is given up.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

use runloom_core::bus::{From, Tail};
use runloom_core::event::{Event, EventId};

/// So many events wait at most for one that is missing.
const AHEAD: usize = 10_000;

/// Where something comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// It was just published. What came before it may have been missed.
    Live,
    /// It is kept by a stream, which keeps the order.
    Kept,
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The first event that is kept comes next.
    Start,
    /// It knows this event from before; whether the stream does is not known yet.
    Known(EventId),
    /// Any event that is new comes next.
    Now,
    /// After this event of this attempt.
    After(i64, EventId),
}

/// Whether the stream is being searched for the event that the reader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    /// Nothing was seen yet.
    Begun,
    /// It has older events.
    ReachesBack,
    /// It was found, or cannot be.
    Over,
}

/// The events of one run for one reader.
pub(super) struct Order {
    place: Place,
    search: Search,
    /// Events by epoch and number that cannot be told yet.
    ahead: BTreeMap<(i64, u64), Event>,
    /// Whether the run was said to be over, and its last event if that was said, too.
    over: bool,
    last: Option<EventId>,
    ready: VecDeque<Tail>,
}

impl Order {
    pub(super) fn new(from: From) -> Self {
        let (place, search) = match from {
            From::Start => (Place::Start, Search::Over),
            From::After(id) => (Place::Known(id), Search::Begun),
            From::Now => (Place::Now, Search::Over),
        };
        Self {
            place,
            search,
            ahead: BTreeMap::new(),
            over: false,
            last: None,
            ready: VecDeque::new(),
        }
    }

    /// What comes next, if that is known.
    pub(super) fn pop(&mut self) -> Option<Tail> {
        self.ready.pop_front()
    }

    /// Whether something that was heard cannot be told before something else is found.
    pub(super) fn is_waiting(&self) -> bool {
        !self.ahead.is_empty() || self.over
    }

    /// Whether `event` is the last that was told.
    pub(super) fn is_at(&self, event: &Event) -> bool {
        self.place == Place::After(event.epoch, event.id)
    }

    /// There is nothing yet, so the run's first event comes next, also if it is missed.
    pub(super) fn begin_at_start(&mut self) {
        if self.place == Place::Now {
            self.place = Place::Start;
        }
    }

    /// Takes an event.
    pub(super) fn offer(&mut self, event: Event, source: Source) {
        if self.search != Search::Over && source == Source::Kept {
            self.search(event);
            return;
        }
        if self.is_old(&event) {
            return;
        }
        if self.search == Search::Over && self.follows(&event, source) {
            self.tell(event);
            self.tell_ahead();
            return;
        }
        let nothing_before = source == Source::Kept && !matches!(self.place, Place::After(..));
        self.ahead.insert((event.epoch, event.id.number), event);
        // What a stream keeps first has nothing before it that could still be found.
        if nothing_before || self.ahead.len() > AHEAD {
            self.skip();
        }
    }

    /// Says that the run is over, after the event `last` if that is known.
    pub(super) fn end(&mut self, last: Option<EventId>, source: Source) {
        let at_last = match (self.place, last) {
            (Place::After(_, id), Some(last)) => id == last,
            _ => false,
        };
        self.over = true;
        self.last = last.max(self.last);
        // The stream has the end after everything else.
        let all_read = source == Source::Kept && self.search != Search::ReachesBack;
        if at_last || all_read {
            self.give_up();
        }
    }

    /// The stream was read to its end. Returns whether it must be read again, from its beginning:
    /// it does not have the event that the reader knows.
    pub(super) fn searched(&mut self) -> bool {
        let again = self.search == Search::ReachesBack;
        self.search = Search::Over;
        again
    }

    /// What is missing will not be found any more.
    pub(super) fn give_up(&mut self) {
        self.search = Search::Over;
        while !self.ahead.is_empty() {
            self.skip();
        }
        if std::mem::take(&mut self.over) {
            if self.last.is_some_and(|last| self.lacks(last)) {
                self.ready.push_back(Tail::Gap);
            }
            self.ready.push_back(Tail::End);
        }
    }

    /// Whether the event `last` should have been told and was not.
    fn lacks(&self, last: EventId) -> bool {
        match self.place {
            Place::Start => true,
            Place::Known(id) | Place::After(_, id) => id < last,
            // What came before the reader did is not missed.
            Place::Now => false,
        }
    }

    /// Looks for the event that the reader knows.
    fn search(&mut self, event: Event) {
        let Place::Known(known) = self.place else {
            return;
        };
        match event.id.cmp(&known) {
            Ordering::Less => self.search = Search::ReachesBack,
            Ordering::Equal => {
                self.search = Search::Over;
                self.place = Place::After(event.epoch, known);
                // What was heard meanwhile is judged again.
                for event in std::mem::take(&mut self.ahead).into_values() {
                    self.offer(event, Source::Live);
                }
            }
            Ordering::Greater if self.search == Search::Begun => {
                self.search = Search::Over;
                self.offer(event, Source::Kept);
            }
            // Something that a superseded attempt still said may stand before it.
            Ordering::Greater => {}
        }
    }

    fn is_old(&self, event: &Event) -> bool {
        match self.place {
            Place::Start | Place::Now => false,
            Place::Known(known) => event.id <= known,
            Place::After(epoch, id) => {
                event.epoch < epoch || event.epoch == epoch && event.id.number <= id.number
            }
        }
    }

    fn follows(&self, event: &Event, source: Source) -> bool {
        match self.place {
            Place::Start => event.id.number == 0,
            Place::Known(known) => event.id.number == known.number + 1,
            Place::Now => true,
            Place::After(epoch, id) if event.epoch == epoch => event.id.number == id.number + 1,
            // Whether all of the attempt before was heard only the stream can tell.
            Place::After(..) => event.id.number == 0 && source == Source::Kept,
        }
    }

    fn tell(&mut self, event: Event) {
        self.place = Place::After(event.epoch, event.id);
        self.ready.push_back(Tail::Event(event));
    }

    /// Tells what follows now.
    fn tell_ahead(&mut self) {
        while let Some((place, event)) = self.ahead.pop_first() {
            if self.follows(&event, Source::Live) {
                self.tell(event);
            } else if !self.is_old(&event) {
                self.ahead.insert(place, event);
                return;
            }
        }
    }

    /// Tells what is ahead first, after a gap.
    fn skip(&mut self) {
        let Some((_, event)) = self.ahead.pop_first() else {
            return;
        };
        if !self.is_old(&event) {
            self.ready.push_back(Tail::Gap);
            self.tell(event);
        }
        self.tell_ahead();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(epoch: i64, number: u64) -> Event {
        Event {
            id: id(epoch, number),
            epoch,
            name: "values".into(),
            data: "1".into(),
        }
    }

    fn id(epoch: i64, number: u64) -> EventId {
        EventId {
            millis: 1_000 * epoch.unsigned_abs() + number,
            number,
        }
    }

    /// What was told: events by epoch and number, gaps as -1, the end as -2.
    fn told(order: &mut Order) -> Vec<(i64, u64)> {
        std::iter::from_fn(|| order.pop())
            .map(|tail| match tail {
                Tail::Event(event) => (event.epoch, event.id.number),
                Tail::Gap => (-1, 0),
                Tail::End => (-2, 0),
            })
            .collect()
    }

    fn offer(order: &mut Order, source: Source, events: &[(i64, u64)]) {
        for (epoch, number) in events {
            order.offer(event(*epoch, *number), source);
        }
    }

    const GAP: (i64, u64) = (-1, 0);
    const END: (i64, u64) = (-2, 0);

    #[test]
    fn what_is_missing_is_waited_for_and_told_in_its_place() {
        let mut order = Order::new(From::Start);
        offer(&mut order, Source::Live, &[(1, 0), (1, 2), (1, 3)]);
        assert_eq!(told(&mut order), [(1, 0)]);
        assert!(order.is_waiting());
        offer(&mut order, Source::Kept, &[(1, 0), (1, 1), (1, 2)]);
        assert_eq!(told(&mut order), [(1, 1), (1, 2), (1, 3)]);
        assert!(!order.is_waiting());
    }

    #[test]
    fn a_reader_that_was_there_before_the_run_misses_its_first_event() {
        let mut order = Order::new(From::Now);
        order.begin_at_start();
        offer(&mut order, Source::Live, &[(1, 1)]);
        assert_eq!(told(&mut order), []);
        assert!(order.is_waiting(), "for what the stream has");
        offer(&mut order, Source::Kept, &[(1, 0), (1, 1)]);
        assert_eq!(told(&mut order), [(1, 0), (1, 1)]);
    }

    #[test]
    fn what_was_sent_again_late_is_no_gap() {
        let mut order = Order::new(From::Start);
        let kept = [(1, 0), (1, 3), (1, 1), (1, 2), (1, 3), (1, 4)];
        offer(&mut order, Source::Kept, &kept);
        assert_eq!(told(&mut order), [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4)]);
    }

    #[test]
    fn what_is_really_gone_is_a_gap() {
        let mut order = Order::new(From::Start);
        offer(&mut order, Source::Kept, &[(1, 5), (1, 6)]);
        assert_eq!(told(&mut order), [GAP, (1, 5), (1, 6)]);
        offer(&mut order, Source::Live, &[(1, 8), (1, 10)]);
        order.give_up();
        assert_eq!(told(&mut order), [GAP, (1, 8), GAP, (1, 10)]);
    }

    #[test]
    fn a_new_attempt_is_told_when_the_stream_has_it() {
        let mut order = Order::new(From::Start);
        offer(&mut order, Source::Live, &[(1, 0), (2, 0), (2, 1), (1, 1)]);
        assert_eq!(
            told(&mut order),
            [(1, 0), (1, 1)],
            "of the first nothing is lost"
        );
        offer(&mut order, Source::Kept, &[(1, 1), (1, 2), (2, 0), (1, 3)]);
        assert_eq!(told(&mut order), [(1, 2), (2, 0), (2, 1)]);
    }

    #[test]
    fn a_reader_that_knows_an_event_begins_after_it() {
        let mut order = Order::new(From::After(id(2, 0)));
        offer(&mut order, Source::Live, &[(2, 3)]);
        // The superseded attempt stands before what is known although its id is greater.
        let mut late = event(1, 1);
        late.id.millis = 9_000;
        order.offer(event(1, 0), Source::Kept);
        order.offer(late, Source::Kept);
        offer(&mut order, Source::Kept, &[(2, 0), (2, 1), (2, 2)]);
        assert_eq!(told(&mut order), [(2, 1), (2, 2), (2, 3)]);
    }

    #[test]
    fn a_reader_whose_event_is_not_kept_begins_with_what_follows_by_its_id() {
        let mut order = Order::new(From::After(id(1, 2)));
        offer(&mut order, Source::Kept, &[(1, 0), (1, 1)]);
        assert!(order.searched(), "to be read again");
        offer(&mut order, Source::Kept, &[(1, 0), (1, 1)]);
        offer(&mut order, Source::Live, &[(1, 3)]);
        assert_eq!(told(&mut order), [(1, 3)]);
        let mut order = Order::new(From::After(id(1, 2)));
        offer(&mut order, Source::Kept, &[(1, 7)]);
        assert_eq!(told(&mut order), [GAP, (1, 7)]);
    }

    #[test]
    fn the_end_comes_when_all_before_it_is_known_to_be_told() {
        let mut order = Order::new(From::Start);
        offer(&mut order, Source::Live, &[(1, 0)]);
        order.end(None, Source::Live);
        assert_eq!(told(&mut order), [(1, 0)], "something may have been missed");
        offer(&mut order, Source::Kept, &[(1, 0), (1, 1)]);
        order.end(None, Source::Kept);
        assert_eq!(told(&mut order), [(1, 1), END]);
        let mut order = Order::new(From::Start);
        offer(&mut order, Source::Live, &[(1, 0)]);
        order.end(Some(id(1, 0)), Source::Live);
        assert_eq!(told(&mut order), [(1, 0), END]);
        let mut order = Order::new(From::After(id(1, 0)));
        order.end(None, Source::Kept);
        assert_eq!(told(&mut order), [END]);
    }

    #[test]
    fn an_end_without_the_events_before_it_names_the_gap() {
        for (from, expected) in [
            (From::Start, vec![GAP, END]),
            (From::After(id(1, 0)), vec![GAP, END]),
            (From::After(id(1, 1)), vec![END]),
            (From::Now, vec![END]),
        ] {
            let mut order = Order::new(from);
            order.end(Some(id(1, 1)), Source::Kept);
            assert_eq!(told(&mut order), expected, "{from:?}");
        }
        let mut order = Order::new(From::Start);
        offer(&mut order, Source::Kept, &[(1, 0)]);
        order.end(Some(id(1, 1)), Source::Kept);
        assert_eq!(told(&mut order), [(1, 0), GAP, END]);
    }
}
