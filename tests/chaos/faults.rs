//! What goes wrong, and when: decided by a seed.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep_until;

use crate::history::{Fault, History, Pause, now};
use crate::netns::{Cable, Hosts};
use crate::world::{GATEWAYS, LEASE, WORKERS, World};

/// Between two faults, in seconds.
const EVERY: (f64, f64) = (1.5, 3.5);

/// How long a process that was asked to stop may take, in seconds.
const DRAIN: f64 = 15.0;

/// How often such a process is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// How long the first worker of a storm is stopped: beyond its lease, in the middle of runs, so that
/// something is fenced in every storm.
const FIRST: f64 = LEASE + 1.5;

/// Which faults are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// All there are.
    Storm,
    /// Every process is asked to stop and started again, one after the other: nothing worse.
    RollingRestart,
    /// The same, but each only once: by then this version has taken the place of an earlier one.
    RollingChange,
    /// Cables between a process and one of the servers are pulled.
    Cuts,
}

impl Weather {
    /// Whether processes are replaced one after the other.
    pub(crate) fn is_rolling(self) -> bool {
        matches!(self, Self::RollingRestart | Self::RollingChange)
    }
}

/// Who is replaced after whom: such that older gateways meet newer workers and the other way round.
const ORDER: [usize; GATEWAYS + WORKERS] = [0, GATEWAYS, GATEWAYS + 1, 1, GATEWAYS + 2];

/// What can be hit. Whatever was hit is left alone until it is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Role(usize),
    Nats,
    /// The cable between a process and a server.
    Cable(usize, Cable),
}

/// What ends a fault.
#[derive(Clone, Copy, Debug)]
enum Repair {
    /// Start the process again.
    Start,
    /// Let it go on.
    Continue { since: f64 },
    /// Start it again when it has ended by itself.
    Await { since: f64 },
}

/// Makes faults and repairs them.
pub(crate) struct Faults {
    dice: fastrand::Rng,
    weather: Weather,
    repairs: Vec<(Instant, Target, Repair)>,
    /// How many processes have been asked to stop, in a rolling restart.
    turn: usize,
    /// What was done.
    pub(crate) history: History,
}

impl Faults {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        Self {
            dice: fastrand::Rng::with_seed(seed),
            weather,
            repairs: Vec::new(),
            turn: 0,
            history: History::default(),
        }
    }

    /// Makes faults until `end`, then repairs everything.
    pub(crate) async fn rage(&mut self, world: &mut World, end: Instant) {
        let mut next = Instant::now() + self.between(EVERY.0, EVERY.1);
        loop {
            let repair = self.repairs.iter().map(|(at, ..)| *at).min();
            let wake = repair.map_or(next, |repair| repair.min(next)).min(end);
            sleep_until(wake.into()).await;
            if Instant::now() >= end {
                break;
            }
            self.repair(world, Instant::now()).await;
            if Instant::now() >= next {
                self.hit(world).await;
                next = Instant::now() + self.between(EVERY.0, EVERY.1);
            }
        }
        let whole = Instant::now() + Duration::from_hours(1);
        while !self.repairs.is_empty() {
            self.repair(world, whole).await;
            tokio::time::sleep(GLANCE).await;
        }
        for at in 0..world.roles.len() {
            if !world.roles[at].is_running() {
                world.roles[at].kill();
                world.roles[at].start();
            }
        }
        self.note("all is repaired".to_owned());
    }

    fn between(&mut self, low: f64, high: f64) -> Duration {
        Duration::from_secs_f64(self.dice.f64().mul_add(high - low, low))
    }

    fn note(&mut self, what: String) {
        self.history.faults.push(Fault { at: now(), what });
    }

    fn later(&mut self, wait: Duration, target: Target, repair: Repair) {
        self.repairs.push((Instant::now() + wait, target, repair));
    }

    fn is_whole(&self, target: Target) -> bool {
        !self.repairs.iter().any(|(_, hit, _)| *hit == target)
    }

    async fn repair(&mut self, world: &mut World, until: Instant) {
        let (due, later): (Vec<_>, _) = std::mem::take(&mut self.repairs)
            .into_iter()
            .partition(|(at, ..)| *at <= until);
        self.repairs = later;
        for (_, target, repair) in due {
            self.undo(world, target, repair).await;
        }
    }

    async fn undo(&mut self, world: &mut World, target: Target, repair: Repair) {
        match (target, repair) {
            (Target::Role(at), Repair::Await { since }) => {
                let took = now() - since;
                let ended = !world.roles[at].is_running();
                if !ended && took < DRAIN {
                    return self.later(GLANCE, target, repair);
                }
                let how = if ended {
                    "ended by itself"
                } else {
                    "had to be killed"
                };
                self.note(format!("{} {how} after {took:.2} s", world.roles[at].name));
                world.roles[at].kill();
                world.roles[at].start();
            }
            (Target::Role(at), Repair::Start) => world.roles[at].start(),
            (Target::Role(at), Repair::Continue { since }) => {
                let (from, to) = (since, now());
                let pid = world.roles[at].pid();
                world.roles[at].signal(Signal::CONT);
                self.history.pauses.push(Pause { pid, from, to });
            }
            (Target::Nats, Repair::Start | Repair::Await { .. }) => world.nats.restart().await,
            (Target::Nats, Repair::Continue { .. }) => world.nats.resume(),
            (Target::Cable(at, cable), _) => hosts(world).mend(at, cable),
        }
        self.note(format!("{} is back", name(world, target)));
    }

    async fn hit(&mut self, world: &mut World) {
        if self.weather.is_rolling() {
            let (round, turn) = (self.turn / ORDER.len(), self.turn % ORDER.len());
            if round == 0 || self.weather == Weather::RollingRestart {
                self.turn += 1;
                self.ask_to_stop(world, ORDER[turn]);
            }
            return;
        }
        if self.weather == Weather::Cuts {
            return self.pull(world);
        }
        if self.history.faults.is_empty() {
            return self.pause(world, worker, (FIRST, FIRST));
        }
        match self.dice.u32(0..100) {
            0..18 => self.kill(world, worker),
            18..36 => self.pause(world, worker, (1.0, 6.5)),
            36..48 => {
                let at = worker(&mut self.dice);
                self.ask_to_stop(world, at);
            }
            48..56 => self.kill(world, gateway),
            56..62 => self.pause(world, gateway, (0.5, 4.0)),
            62..68 => {
                let at = gateway(&mut self.dice);
                self.ask_to_stop(world, at);
            }
            68..94 => self.hit_nats(world).await,
            _ => self.restart_postgres(world).await,
        }
    }

    fn kill(&mut self, world: &mut World, choose: impl Fn(&mut fastrand::Rng) -> usize) {
        let at = choose(&mut self.dice);
        if self.is_whole(Target::Role(at)) {
            self.note(format!("kill -9 {}", name(world, Target::Role(at))));
            world.roles[at].kill();
            let wait = self.between(0.1, 2.0);
            self.later(wait, Target::Role(at), Repair::Start);
        }
    }

    fn pause(
        &mut self,
        world: &mut World,
        choose: impl Fn(&mut fastrand::Rng) -> usize,
        seconds: (f64, f64),
    ) {
        let at = choose(&mut self.dice);
        if self.is_whole(Target::Role(at)) {
            self.note(format!("SIGSTOP {}", name(world, Target::Role(at))));
            let since = now();
            world.roles[at].signal(Signal::STOP);
            let wait = self.between(seconds.0, seconds.1);
            self.later(wait, Target::Role(at), Repair::Continue { since });
        }
    }

    fn ask_to_stop(&mut self, world: &World, at: usize) {
        if self.is_whole(Target::Role(at)) {
            self.note(format!("SIGTERM {}", name(world, Target::Role(at))));
            world.roles[at].signal(Signal::TERM);
            let since = now();
            self.later(GLANCE, Target::Role(at), Repair::Await { since });
        }
    }

    fn pull(&mut self, world: &World) {
        let (at, cable) = match self.dice.u32(0..10) {
            0..4 => (worker(&mut self.dice), Cable::Postgres),
            4..7 => (worker(&mut self.dice), Cable::Nats),
            _ => (gateway(&mut self.dice), Cable::Nats),
        };
        let target = Target::Cable(at, cable);
        if self.is_whole(target) {
            self.note(format!("pulled {}", name(world, target)));
            hosts(world).cut(at, cable);
            let wait = self.between(1.0, 7.0);
            self.later(wait, target, Repair::Start);
        }
    }

    async fn hit_nats(&mut self, world: &mut World) {
        if !self.is_whole(Target::Nats) {
            return;
        }
        match self.dice.u32(0..26) {
            0..7 => {
                self.note("kill -9 nats".to_owned());
                world.nats.kill();
                let wait = self.between(0.1, 3.0);
                self.later(wait, Target::Nats, Repair::Start);
            }
            7..13 => {
                self.note("kill -9 nats, its store wiped".to_owned());
                world.nats.wipe();
                let wait = self.between(0.1, 2.0);
                self.later(wait, Target::Nats, Repair::Start);
            }
            13..19 => {
                self.note("SIGSTOP nats".to_owned());
                world.nats.pause();
                let (wait, since) = (self.between(0.5, 4.0), now());
                self.later(wait, Target::Nats, Repair::Continue { since });
            }
            _ => {
                let deleted = delete_streams(&world.nats.url()).await;
                self.note(format!("deleted in nats: {deleted}"));
            }
        }
    }

    async fn restart_postgres(&mut self, world: &mut World) {
        self.note("postgres stops immediately".to_owned());
        world.postgres.stop_immediately().await;
        tokio::time::sleep(self.between(0.0, 1.5)).await;
        world.postgres.restart().await;
        self.note("postgres is back".to_owned());
    }
}

fn name(world: &World, target: Target) -> String {
    match target {
        Target::Role(at) => format!("{} ({})", world.roles[at].name, world.roles[at].pid()),
        Target::Nats => "nats".to_owned(),
        Target::Cable(at, cable) => format!("the cable of {} to {cable:?}", world.roles[at].name),
    }
}

fn hosts(world: &World) -> &Hosts {
    world.hosts.as_ref().expect("processes are apart")
}

fn gateway(dice: &mut fastrand::Rng) -> usize {
    dice.usize(0..GATEWAYS)
}

fn worker(dice: &mut fastrand::Rng) -> usize {
    GATEWAYS + dice.usize(0..WORKERS)
}

/// Deletes every stream, and with them every consumer. Says which, or why not.
async fn delete_streams(url: &str) -> String {
    use futures::TryStreamExt as _;
    let deleting = async {
        let client = async_nats::connect(url)
            .await
            .map_err(|error| error.to_string())?;
        let jetstream = async_nats::jetstream::new(client);
        let names: Vec<String> = jetstream
            .stream_names()
            .try_collect()
            .await
            .map_err(|error| error.to_string())?;
        for name in &names {
            let deleted = jetstream.delete_stream(name).await;
            deleted.map_err(|error| error.to_string())?;
        }
        Ok::<_, String>(names.join(", "))
    };
    let limit = Duration::from_secs(3);
    match tokio::time::timeout(limit, deleting).await {
        Ok(Ok(names)) => names,
        Ok(Err(error)) => format!("nothing: {error}"),
        Err(_) => "nothing in time".to_owned(),
    }
}
