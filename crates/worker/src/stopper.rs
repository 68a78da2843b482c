//! Asks one attempt to stop, and remembers why.

use std::sync::{Mutex, MutexGuard, PoisonError};

use runloom_core::executor::{StopKind, StopSignal};
use runloom_core::run::CancelAction;
use runloom_core::trace::TraceParent;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::measures::Heard;

/// The wish that an attempt stop. A wish is only ever replaced by a stronger one.
pub(crate) struct Stopper {
    /// Why it should stop. A lost lease is no reason to call a run interrupted, nor does it undo
    /// one: it is kept only where nothing else is.
    cause: Mutex<Option<StopKind>>,
    /// The request to stop that came first: what was asked, how it was heard of, and when.
    request: Mutex<Option<(CancelAction, Heard, Instant)>>,
    /// What asks for it, in a trace.
    asker: Mutex<Option<TraceParent>>,
    /// What a run being executed hears.
    run: watch::Sender<Option<StopKind>>,
    /// What a visit hears: it is there because of an interrupt, and short, so only what makes it
    /// pointless stops it.
    visit: watch::Sender<Option<StopKind>>,
}

impl Stopper {
    /// Nothing is wished beyond `cancel`, which the attempt knows of from the start.
    pub(crate) fn new(cancel: Option<CancelAction>) -> Self {
        let request = cancel.map(|action| (action, Heard::Claim, Instant::now()));
        Self {
            cause: Mutex::new(cancel.map(kind_of)),
            request: Mutex::new(request),
            asker: Mutex::default(),
            run: watch::Sender::new(None),
            visit: watch::Sender::new(None),
        }
    }

    /// Asks the attempt to stop.
    pub(crate) fn ask(&self, kind: StopKind) {
        let mut cause = lock(&self.cause);
        if kind != StopKind::LeaseLost || cause.is_none() {
            raise(&mut cause, kind);
        }
        drop(cause);
        self.run.send_if_modified(|wish| raise(wish, kind));
        if matches!(kind, StopKind::Rollback | StopKind::LeaseLost) {
            self.visit.send_if_modified(|wish| raise(wish, kind));
        }
    }

    /// Asks the attempt to stop, as somebody requested.
    pub(crate) fn cancel(&self, action: CancelAction, heard: Heard) {
        let mut request = lock(&self.request);
        let (_, heard, at) = request.unwrap_or((action, heard, Instant::now()));
        let action = request.map_or(action, |(before, ..)| before.max(action));
        *request = Some((action, heard, at));
        drop(request);
        self.ask(kind_of(action));
    }

    /// Takes note of what asks for it, in a trace. What came first holds.
    pub(crate) fn asked_in(&self, trace: Option<TraceParent>) {
        let mut asker = lock(&self.asker);
        *asker = asker.or(trace);
    }

    /// What asks for it, in a trace.
    pub(crate) fn asker(&self) -> Option<TraceParent> {
        *lock(&self.asker)
    }

    /// The request to stop, if there was one.
    pub(crate) fn request(&self) -> Option<(CancelAction, Heard, Instant)> {
        *lock(&self.request)
    }

    /// Why the attempt was asked to stop, if it was.
    pub(crate) fn cause(&self) -> Option<StopKind> {
        *lock(&self.cause)
    }

    /// Whether nothing that the attempt writes counts any more.
    pub(crate) fn is_lost(&self) -> bool {
        *self.run.borrow() == Some(StopKind::LeaseLost)
    }

    /// What the executor of a run listens to.
    pub(crate) fn run_signal(&self) -> StopSignal {
        self.run.subscribe()
    }

    /// What the executor of a visit listens to.
    pub(crate) fn visit_signal(&self) -> StopSignal {
        self.visit.subscribe()
    }

    /// Returns when the attempt has lost its thread.
    pub(crate) async fn lost(&self) {
        let mut signal = self.run.subscribe();
        let lost = signal.wait_for(|kind| *kind == Some(StopKind::LeaseLost));
        // It cannot close: `self` holds the sender.
        let _ = lost.await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns when `signal` asks for an immediate stop, not only for a drain.
pub(crate) async fn hard(mut signal: StopSignal) {
    let hard = signal.wait_for(|kind| kind.is_some_and(|kind| kind != StopKind::Drain));
    if hard.await.is_err() {
        // Whoever could ask is gone, so nobody will.
        std::future::pending::<()>().await;
    }
}

/// The kind of stop that a cancel action asks for.
fn kind_of(action: CancelAction) -> StopKind {
    match action {
        CancelAction::Interrupt => StopKind::Interrupt,
        CancelAction::Rollback => StopKind::Rollback,
    }
}

/// Replaces `wish` by `kind` if that is stronger.
fn raise(wish: &mut Option<StopKind>, kind: StopKind) -> bool {
    let stronger = wish.is_none_or(|wish| strength(wish) < strength(kind));
    if stronger {
        *wish = Some(kind);
    }
    stronger
}

/// An interrupt and a timeout are equally strong: whichever comes first names the end.
fn strength(kind: StopKind) -> u8 {
    match kind {
        StopKind::Drain => 1,
        StopKind::Interrupt | StopKind::Timeout => 2,
        StopKind::Rollback => 3,
        StopKind::LeaseLost => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_only_replaced_by_a_stronger_one() {
        let stopper = Stopper::new(None);
        let heard = stopper.run_signal();
        for (asked, expected) in [
            (StopKind::Drain, StopKind::Drain),
            (StopKind::Interrupt, StopKind::Interrupt),
            (StopKind::Timeout, StopKind::Interrupt),
            (StopKind::Drain, StopKind::Interrupt),
            (StopKind::Rollback, StopKind::Rollback),
            (StopKind::Interrupt, StopKind::Rollback),
        ] {
            stopper.ask(asked);
            assert_eq!(*heard.borrow(), Some(expected));
            assert_eq!(stopper.cause(), Some(expected));
        }
    }

    #[test]
    fn a_lost_lease_stops_the_code_but_does_not_hide_why_it_was_to_stop() {
        let stopper = Stopper::new(None);
        stopper.ask(StopKind::Interrupt);
        stopper.ask(StopKind::LeaseLost);
        assert_eq!(*stopper.run_signal().borrow(), Some(StopKind::LeaseLost));
        assert_eq!(stopper.cause(), Some(StopKind::Interrupt));
        assert!(stopper.is_lost());
    }

    #[test]
    fn a_visit_goes_on_through_the_interrupt_that_it_is_there_for() {
        let stopper = Stopper::new(Some(CancelAction::Interrupt));
        let heard = stopper.visit_signal();
        for kind in [StopKind::Interrupt, StopKind::Drain, StopKind::Timeout] {
            stopper.ask(kind);
            assert_eq!(*heard.borrow(), None, "{kind}");
        }
        stopper.ask(StopKind::Rollback);
        assert_eq!(*heard.borrow(), Some(StopKind::Rollback));
    }
}
