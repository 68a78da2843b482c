//! What a process knows of how it is, without asking anybody: for those who look after it.
//!
//! Whether it lives and whether it can serve are two questions. A process that cannot reach its
//! database lives: starting it anew would help nobody. It only should get no work for now.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;

use crate::json::JsonMap;

/// So many failures in a row make the database unreachable: a single slow answer does not.
const FAILURES: u32 = 2;

/// How a process is. Copies are the same one.
#[derive(Clone, Default)]
pub struct Health(Arc<Known>);

#[derive(Default)]
struct Known {
    state: Mutex<State>,
    /// Tells how the bus is, where there is one.
    bus: OnceLock<Box<dyn Fn() -> BusHealth + Send + Sync>>,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Failures in a row, once the database was asked.
    failures: Option<u32>,
    /// Whether there is a lease, where one is needed.
    lease: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Starting,
    Serving,
    Draining,
}

/// How the bus is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum BusHealth {
    /// All of it works.
    Ok,
    /// Part of it works.
    Degraded,
    /// Nothing works.
    Disconnected,
}

impl Health {
    /// It has everything that it needs, and begins to serve.
    pub fn begin(&self) {
        let mut state = self.state();
        if state.phase == Phase::Starting {
            state.phase = Phase::Serving;
        }
    }

    /// It was told to stop: it ends what is under way and takes nothing more.
    pub fn drain(&self) {
        self.state().phase = Phase::Draining;
    }

    /// Whether it was told to stop.
    pub fn is_draining(&self) -> bool {
        self.state().phase == Phase::Draining
    }

    /// The database has answered.
    pub fn database_answered(&self) {
        self.state().failures = Some(0);
    }

    /// The database has not answered, or not in time.
    pub fn database_failed(&self) {
        let mut state = self.state();
        // Who was never answered cannot say that this is only a moment.
        state.failures = Some(
            state
                .failures
                .map_or(FAILURES, |count| count.saturating_add(1)),
        );
    }

    /// From now on `tell` is asked how the bus is; it must know that by heart.
    pub fn ask_bus(&self, tell: impl Fn() -> BusHealth + Send + Sync + 'static) {
        // It is said once, when the process is put together.
        let _ = self.0.bus.set(Box::new(tell));
    }

    /// Whether it has the lease that it needs.
    pub fn lease_is(&self, held: bool) {
        self.state().lease = Some(held);
    }

    /// The services that it stands on, and how each is.
    pub fn services(&self) -> JsonMap {
        let answers = self.state().database_answers();
        let database = answers.map(|answers| if answers { "ok" } else { "unreachable" });
        let bus = self.0.bus.get().map(|tell| <&str>::from(tell()));
        let all = [("database", database), ("nats", bus)].into_iter();
        all.filter_map(|(name, how)| Some((name.to_owned(), Value::from(how?))))
            .collect()
    }

    /// Why it should get no work now; nothing if it should.
    pub fn troubles(&self) -> Vec<&'static str> {
        let state = self.state();
        let phase = match state.phase {
            Phase::Starting => Some("starting"),
            Phase::Serving => None,
            Phase::Draining => Some("draining"),
        };
        let database = match state.database_answers() {
            None => Some("the database was not asked yet"),
            Some(false) => Some("the database is out of reach"),
            Some(true) => None,
        };
        let lease = (state.lease == Some(false)).then_some("no lease");
        [phase, database, lease].into_iter().flatten().collect()
    }

    /// Each change is a single assignment, so the state is whole even if a holder panicked.
    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the database is there, if it was ever asked.
    fn database_answers(&self) -> Option<bool> {
        self.failures.map(|failures| failures < FAILURES)
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn services(health: &Health) -> Value {
        Value::Object(health.services())
    }

    #[test]
    fn a_process_is_ready_from_its_first_answer_until_it_is_told_to_stop() {
        let health = Health::default();
        assert_eq!(services(&health), json!({}));
        health.database_answered();
        assert_eq!(health.troubles(), ["starting"]);
        health.begin();
        assert_eq!(health.troubles(), [""; 0]);
        health.drain();
        health.begin();
        assert_eq!(health.troubles(), ["draining"], "for good");
        assert!(health.is_draining());
    }

    #[test]
    fn one_failure_is_none() {
        let health = Health::default();
        health.begin();
        health.database_answered();
        health.database_failed();
        assert_eq!(health.troubles(), [""; 0]);
        assert_eq!(services(&health), json!({"database": "ok"}));
        health.database_failed();
        assert_eq!(health.troubles(), ["the database is out of reach"]);
        assert_eq!(services(&health), json!({"database": "unreachable"}));
        health.database_answered();
        health.database_failed();
        assert_eq!(health.troubles(), [""; 0], "they are to be in a row");
    }

    #[test]
    fn who_was_never_answered_is_not_ready() {
        let health = Health::default();
        health.begin();
        health.database_failed();
        assert_eq!(health.troubles(), ["the database is out of reach"]);
        health.database_answered();
        assert_eq!(health.troubles(), [""; 0]);
    }

    #[test]
    fn a_bus_that_is_ill_is_named_but_keeps_nobody_from_serving() {
        let health = Health::default();
        health.begin();
        health.database_answered();
        health.ask_bus(|| BusHealth::Disconnected);
        let expected = json!({"database": "ok", "nats": "disconnected"});
        assert_eq!(services(&health), expected);
        assert_eq!(health.troubles(), [""; 0]);
    }

    #[test]
    fn who_needs_a_lease_is_not_ready_without_it() {
        let health = Health::default();
        health.begin();
        health.database_answered();
        health.lease_is(false);
        assert_eq!(health.troubles(), ["no lease"]);
        health.lease_is(true);
        assert_eq!(health.troubles(), [""; 0]);
    }
}
