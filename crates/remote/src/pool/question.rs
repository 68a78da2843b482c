//! A question that a process is about to answer.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::peer::{Call, CallError};
use crate::protocol::{Stop, item};

/// How long a question that was called off may take to end before harder means are used, in milliseconds.
const GRACE_MS: u64 = 1000;

/// A question under way. If it is dropped before there is an answer, the process need not go on with it.
pub(super) struct Question {
    call: Call,
    is_over: bool,
}

impl Question {
    pub(super) fn new(call: Call) -> Self {
        Self {
            call,
            is_over: false,
        }
    }

    /// Waits for the answer, as long as `limit`. Nothing is asked on its behalf any more when this returns.
    pub(super) async fn answer<R: DeserializeOwned>(
        mut self,
        limit: Duration,
    ) -> Result<R, CallError> {
        let answer = timeout(limit, self.call.reply()).await;
        if answer.is_err() {
            self.call_off();
        }
        self.is_over = true;
        self.call.close().await;
        answer.unwrap_or(Err(CallError::Late(limit)))
    }

    fn call_off(&self) {
        let stop = Stop {
            kind: "interrupt".to_owned(),
            grace_ms: GRACE_MS,
        };
        // A process that is gone has nothing to stop.
        let _ = self.call.say(item::STOP, &stop);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.is_over {
            self.call_off();
        }
    }
}
