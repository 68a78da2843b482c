//! Which processes there are, who has a place in them, and who waits for one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{oneshot, watch};

use super::member::Member;
use super::place::{Place, Purpose};
use super::{Closed, PoolConfig};
use crate::measures::{self, Census};

/// Everything about places that must be decided at once.
pub(super) struct Rooms {
    table: Mutex<Table>,
    /// Changes whenever a process begins or ceases to serve.
    changed: watch::Sender<()>,
    /// How many processes should serve, and how many runs each takes.
    processes: usize,
    max_runs: usize,
}

#[derive(Default)]
struct Table {
    rooms: Vec<Room>,
    /// A process that has loaded everything and waits to take over.
    spare: Option<Arc<Member>>,
    /// Runs that wait, in the order in which they came.
    waiting: VecDeque<oneshot::Sender<Place>>,
    next_place: u64,
    closed: bool,
}

/// A process and what goes on in it.
struct Room {
    member: Arc<Member>,
    runs: usize,
    questions: usize,
    /// Takes nothing new, and ends when nothing goes on in it.
    retiring: bool,
}

/// What comes of asking for a place.
pub(super) enum Asked {
    /// There is room.
    Place(Place),
    /// There will be.
    Wait(oneshot::Receiver<Place>),
}

impl Rooms {
    pub(super) fn new(config: &PoolConfig) -> Self {
        Self {
            table: Mutex::default(),
            changed: watch::Sender::new(()),
            processes: config.processes.max(1),
            max_runs: config.max_runs.max(1),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nobody panics with this lock")
    }

    /// Asks for a place for a run.
    pub(super) fn ask(self: &Arc<Self>) -> Result<Asked, Closed> {
        let mut table = self.table();
        if table.closed {
            return Err(Closed);
        }
        table.waiting.retain(|waiting| !waiting.is_closed());
        if table.waiting.is_empty()
            && let Some(place) = table.seat(self)
        {
            return Ok(Asked::Place(place));
        }
        let (sender, receiver) = oneshot::channel();
        table.waiting.push_back(sender);
        Ok(Asked::Wait(receiver))
    }

    /// A place for a question, if a process serves.
    pub(super) fn desk(self: &Arc<Self>) -> Option<Place> {
        let mut table = self.table();
        let serving = table.rooms.iter_mut().filter(|room| !room.retiring);
        let room = serving.min_by_key(|room| room.questions + room.runs)?;
        room.questions += 1;
        let member = Arc::clone(&room.member);
        Some(table.place(member, Purpose::Question, self))
    }

    /// Changes whenever a process begins or ceases to serve.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Frees a place.
    pub(super) fn free(self: &Arc<Self>, member: &Member, purpose: Purpose) {
        let mut table = self.table();
        let room = table
            .rooms
            .iter_mut()
            .find(|room| room.member.id == member.id);
        // A process that is gone is not in the table any more.
        if let Some(room) = room {
            match purpose {
                Purpose::Run => room.runs -= 1,
                Purpose::Question => room.questions -= 1,
            }
            if room.retiring && room.is_idle() {
                room.member.end_idle();
            }
        }
        self.hand_out(table);
    }

    /// Takes a process that has loaded its graphs: to serve if one is missing, as a spare otherwise.
    pub(super) fn join(self: &Arc<Self>, member: Arc<Member>) {
        let mut table = self.table();
        if table.closed {
            member.end_idle();
        } else if table.serving() < self.processes {
            table.open(member);
        } else {
            // There is one already where newer code is about to replace everything.
            if let Some(older) = table.spare.as_ref().map(|spare| spare.id) {
                table.retire(older);
            }
            table.spare = Some(member);
        }
        self.changed(table);
    }

    /// Gives a process no more runs; it ends when nothing goes on in it. The spare takes over at once.
    /// Whether it was serving or spare until now.
    pub(super) fn retire(self: &Arc<Self>, id: u64) -> bool {
        let mut table = self.table();
        let was_there = table.retire(id);
        self.changed(table);
        was_there
    }

    /// Retires all processes of generations before `generation`.
    pub(super) fn retire_before(self: &Arc<Self>, generation: u64) {
        let mut table = self.table();
        let old: Vec<_> = table
            .rooms
            .iter()
            .map(|room| &room.member)
            .chain(&table.spare)
            .filter(|member| member.generation < generation)
            .map(|member| member.id)
            .collect();
        for id in old {
            table.retire(id);
        }
        self.changed(table);
    }

    /// Forgets a process that is gone.
    pub(super) fn remove(self: &Arc<Self>, id: u64) {
        self.retire(id);
        let mut table = self.table();
        table.rooms.retain(|room| room.member.id != id);
        drop(table);
        self.changed.send_replace(());
    }

    /// How many processes serve or could at once.
    pub(super) fn ready(&self) -> usize {
        let table = self.table();
        table.serving() + usize::from(table.spare.is_some())
    }

    /// Takes nothing any more and returns all processes.
    pub(super) fn close(&self) -> Vec<Arc<Member>> {
        let mut table = self.table();
        table.closed = true;
        table.waiting.clear();
        let spare = table.spare.take();
        let members = table.rooms.iter().map(|room| Arc::clone(&room.member));
        members.chain(spare).collect()
    }

    /// How many of what there are.
    pub(super) fn census(&self) -> Census {
        self.table().census()
    }

    /// Lets the spare take over if a process is missing, gives places to those who wait, and tells everybody.
    fn changed(self: &Arc<Self>, mut table: MutexGuard<'_, Table>) {
        if table.serving() < self.processes
            && let Some(spare) = table.spare.take()
        {
            table.open(spare);
        }
        self.hand_out(table);
        self.changed.send_replace(());
    }

    /// Gives places to those who wait, and lets go of the table.
    fn hand_out(self: &Arc<Self>, mut table: MutexGuard<'_, Table>) {
        let mut given = Vec::new();
        table.waiting.retain(|waiting| !waiting.is_closed());
        while !table.waiting.is_empty()
            && let Some(place) = table.seat(self)
        {
            let next = table.waiting.pop_front();
            given.extend(next.map(|waiting| (waiting, place)));
        }
        measures::census(&table.census());
        drop(table);
        for (waiting, place) in given {
            // Whoever does not wait any more leaves the place to the next one as it is dropped here.
            let _ = waiting.send(place);
        }
    }
}

impl Table {
    fn serving(&self) -> usize {
        self.rooms.iter().filter(|room| !room.retiring).count()
    }

    fn open(&mut self, member: Arc<Member>) {
        self.rooms.push(Room {
            member,
            runs: 0,
            questions: 0,
            retiring: false,
        });
    }

    fn retire(&mut self, id: u64) -> bool {
        if let Some(spare) = self.spare.take_if(|spare| spare.id == id) {
            spare.end_idle();
            // It stays in the table until it is gone.
            self.open(spare);
        }
        let room = self.rooms.iter_mut().find(|room| room.member.id == id);
        let Some(room) = room.filter(|room| !room.retiring) else {
            return false;
        };
        room.retiring = true;
        if room.is_idle() {
            room.member.end_idle();
        }
        true
    }

    /// A place for a run in the process that has the fewest.
    fn seat(&mut self, rooms: &Arc<Rooms>) -> Option<Place> {
        let open = self
            .rooms
            .iter_mut()
            .filter(|room| !room.retiring && room.runs < rooms.max_runs);
        let room = open.min_by_key(|room| room.runs)?;
        room.runs += 1;
        room.member.takes_a_run();
        let member = Arc::clone(&room.member);
        Some(self.place(member, Purpose::Run, rooms))
    }

    fn place(&mut self, member: Arc<Member>, purpose: Purpose, rooms: &Arc<Rooms>) -> Place {
        self.next_place += 1;
        Place::new(self.next_place, member, purpose, Arc::clone(rooms))
    }

    fn census(&self) -> Census {
        let members = self.rooms.iter().map(|room| &room.member);
        let memory = members.chain(&self.spare).map(|member| member.memory());
        Census {
            serving: self.serving(),
            retiring: self.rooms.len() - self.serving(),
            spare: usize::from(self.spare.is_some()),
            runs: self.rooms.iter().map(|room| room.runs).sum(),
            waiting: self.waiting.len(),
            memory: memory.sum(),
        }
    }
}

impl Room {
    fn is_idle(&self) -> bool {
        self.runs + self.questions == 0
    }
}
