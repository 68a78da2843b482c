//! Requests of one kind that go to the database together.
//!
//! A request that comes alone goes at once. Those that come while others are under way wait for
//! their turn and then go in one statement: one round trip and one commit for all of them, but each is
//! judged, and answered, on its own. So the busier a process is, the less a request costs. Only when
//! more wait than one statement takes does a second go beside the first.
//!
//! A statement that serves many waits for nobody's lock, so that a thread which is locked for long
//! holds up nobody else. What is locked is left out, and whoever asked for it does it alone.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runloom_core::database::DatabaseError;
use runloom_core::ids::ThreadId;
use tokio::sync::oneshot;

use crate::error::Result;
use crate::server::Server;

/// How many statements of one kind are under way at most.
const AT_ONCE: usize = 4;

/// How many requests go in one statement at most.
const TOGETHER: usize = 64;

/// How large they may be together. What is larger goes alone.
const BYTES: usize = 1 << 20;

/// Something that can be asked of the database together with others of its kind. Repeating it must
/// be harmless: whoever hears nothing asks again, alone.
pub(crate) trait Request: Send + Sync + Sized + 'static {
    /// What it is answered with.
    type Reply: Send + 'static;

    /// The thread that it changes, if any. Requests on one thread do not go together.
    fn thread(&self) -> Option<ThreadId>;

    /// About how large it is, where that may be much.
    fn bytes(&self) -> usize {
        0
    }

    /// Carries out `requests`, in one transaction. Answers each in turn; none for those that have to
    /// be done alone, with nothing changed.
    fn carry_out(
        server: &Server,
        requests: &[Arc<Self>],
    ) -> impl Future<Output = Result<Vec<Option<Self::Reply>>>> + Send;
}

/// Where requests of one kind meet.
pub(crate) struct Together<R: Request>(Arc<Line<R>>);

/// Those who wait, and how many are served.
struct Line<R: Request>(Mutex<State<R>>);

struct State<R: Request> {
    waiting: VecDeque<Waiting<R>>,
    under_way: usize,
}

struct Waiting<R: Request> {
    request: Arc<R>,
    reply: oneshot::Sender<Result<Option<R::Reply>, DatabaseError>>,
}

impl<R: Request> Default for Together<R> {
    fn default() -> Self {
        let state = State {
            waiting: VecDeque::new(),
            under_way: 0,
        };
        Self(Arc::new(Line(Mutex::new(state))))
    }
}

impl<R: Request> Together<R> {
    /// Carries out `request`, with others if there are any. None if it has to be done alone.
    pub(crate) async fn ask(
        &self,
        server: &Server,
        request: Arc<R>,
    ) -> Result<Option<R::Reply>, DatabaseError> {
        if request.bytes() > BYTES {
            return Ok(None);
        }
        let (sender, reply) = oneshot::channel();
        let waiting = Waiting {
            request,
            reply: sender,
        };
        if self.0.join(waiting) {
            // On a task of its own: those who ask may go away at any time, and others wait.
            let turn = Turn::new(&self.0);
            server.tasks.spawn(serve(turn, server.clone()));
        }
        // Without a word whoever served is gone: the process ends.
        reply.await.unwrap_or(Ok(None))
    }
}

impl<R: Request> Line<R> {
    /// Stands in line. True if nobody is there to serve.
    fn join(&self, waiting: Waiting<R>) -> bool {
        let mut state = self.lock();
        state.waiting.push_back(waiting);
        let is_free =
            state.under_way == 0 || (state.under_way < AT_ONCE && state.waiting.len() >= TOGETHER);
        state.under_way += usize::from(is_free);
        is_free
    }

    /// Takes some of those that wait, at most one for each thread. None, and the turn is over, if
    /// nobody does.
    fn take(&self) -> Option<Vec<Waiting<R>>> {
        let mut state = self.lock();
        let (mut taken, mut later) = (Vec::new(), VecDeque::new());
        let (mut threads, mut bytes) = (HashSet::new(), 0);
        while taken.len() < TOGETHER
            && let Some(waiting) = state.waiting.pop_front()
        {
            // Who does not wait any more asks again.
            if waiting.reply.is_closed() {
                continue;
            }
            let is_first = waiting.request.thread().is_none_or(|it| threads.insert(it));
            if !is_first || bytes + waiting.request.bytes() > BYTES {
                later.push_back(waiting);
                continue;
            }
            bytes += waiting.request.bytes();
            taken.push(waiting);
        }
        later.append(&mut state.waiting);
        state.waiting = later;
        if taken.is_empty() {
            state.under_way -= 1;
            return None;
        }
        // What two statements both make, new threads say, they make in the same order.
        taken.sort_by_key(|waiting| waiting.request.thread());
        Some(taken)
    }

    /// The state stays whole even if a holder panicked: each change to it is a single call.
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to serve.
struct Turn<R: Request> {
    line: Arc<Line<R>>,
    is_over: bool,
}

impl<R: Request> Turn<R> {
    fn new(line: &Arc<Line<R>>) -> Self {
        Self {
            line: line.clone(),
            is_over: false,
        }
    }
}

impl<R: Request> Drop for Turn<R> {
    fn drop(&mut self) {
        if !self.is_over {
            // It broke off. Those who wait shall not wait for ever: they do it alone.
            let mut state = self.line.lock();
            state.under_way -= 1;
            state.waiting.clear();
        }
    }
}

/// Serves until nobody waits.
async fn serve<R: Request>(mut turn: Turn<R>, server: Server) {
    while let Some(taken) = turn.line.take() {
        let (requests, replies): (Vec<_>, Vec<_>) = taken
            .into_iter()
            .map(|waiting| (waiting.request, waiting.reply))
            .unzip();
        match R::carry_out(&server, &requests).await {
            Ok(answers) => {
                for (reply, answer) in replies.into_iter().zip(answers) {
                    // Who does not wait any more asks again.
                    let _gone = reply.send(Ok(answer));
                }
            }
            Err(error) => refuse(replies, &error.into()),
        }
    }
    turn.is_over = true;
}

type Replies<T> = Vec<oneshot::Sender<Result<Option<T>, DatabaseError>>>;

/// Nothing was done. If it was for one of the requests, the others can do without it.
fn refuse<T>(replies: Replies<T>, error: &DatabaseError) {
    tracing::debug!(%error, count = replies.len(), "requests did not go together");
    for reply in replies {
        let answer = match error {
            DatabaseError::Unavailable(why) => Err(DatabaseError::Unavailable(why.clone())),
            _ => Ok(None),
        };
        let _gone = reply.send(answer);
    }
}
