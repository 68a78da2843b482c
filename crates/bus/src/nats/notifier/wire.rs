//! What is written into signals and changes.
//!
//! | message | body |
//! |---|---|
//! | signal | `{"v":1,"run":…,"claim":…,"action":"interrupt"}` |
//! | its answer | `{"v":1,"reply":"stopping"}` or `"unknown"` |
//! | change | `{"v":1,"thread":…,"run":…,"status":"running"}`; `null` if the run was discarded |

use bytes::Bytes;
use runloom_core::bus::{BusError, RunChange, Signal, SignalReply};
use runloom_core::ids::{ClaimId, RunId, ThreadId};
use runloom_core::run::{CancelAction, RunStatus};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct SignalBody {
    v: u8,
    run: RunId,
    claim: ClaimId,
    action: CancelAction,
}

#[derive(Serialize, Deserialize)]
struct ReplyBody {
    v: u8,
    reply: Reply,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reply {
    Stopping,
    Unknown,
}

#[derive(Serialize, Deserialize)]
struct ChangeBody {
    v: u8,
    thread: ThreadId,
    run: RunId,
    status: Option<RunStatus>,
}

pub(in crate::nats) fn signal(signal: Signal) -> Bytes {
    encode(&SignalBody {
        v: VERSION,
        run: signal.run_id,
        claim: signal.claim,
        action: signal.action,
    })
}

pub(super) fn read_signal(body: &[u8]) -> Result<Signal, BusError> {
    let body: SignalBody = decode(body)?;
    Ok(Signal {
        run_id: body.run,
        claim: body.claim,
        action: body.action,
        trace: None,
    })
}

/// The answer to a signal; nothing for those that only the asking side can find.
pub(super) fn reply(reply: SignalReply) -> Option<Bytes> {
    let reply = match reply {
        SignalReply::Stopping => Reply::Stopping,
        SignalReply::Unknown => Reply::Unknown,
        SignalReply::NoReceiver | SignalReply::NoAnswer => return None,
    };
    Some(encode(&ReplyBody { v: VERSION, reply }))
}

pub(super) fn read_reply(body: &[u8]) -> Result<SignalReply, BusError> {
    Ok(match decode::<ReplyBody>(body)?.reply {
        Reply::Stopping => SignalReply::Stopping,
        Reply::Unknown => SignalReply::Unknown,
    })
}

pub(super) fn change(change: RunChange) -> Bytes {
    encode(&ChangeBody {
        v: VERSION,
        thread: change.thread_id,
        run: change.run_id,
        status: change.status,
    })
}

pub(super) fn read_change(body: &[u8]) -> Result<RunChange, BusError> {
    let body: ChangeBody = decode(body)?;
    Ok(RunChange {
        thread_id: body.thread,
        run_id: body.run,
        status: body.status,
    })
}

fn encode(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body)
        .expect("plain structures are always JSON")
        .into()
}

fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, BusError> {
    serde_json::from_slice(body).map_err(|error| BusError(format!("not one of ours: {error}")))
}
