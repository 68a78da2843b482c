//! One long token stream, as fast as the server can make it, and one reader.

use std::time::Instant;

use anyhow::Context as _;

use super::{Ground, Meter, rate};
use crate::client::{Mode, NewRun};
use crate::results::Round;
use crate::sse::{is_token, token_number};

/// Tokens in a second that nobody reaches.
const AS_FAST_AS_POSSIBLE: f64 = 1e6;

/// Takes the tokens of one run in their order.
#[derive(Default)]
struct Taken {
    count: usize,
    first: Option<Instant>,
    last: Option<Instant>,
    out_of_order: usize,
}

impl Taken {
    fn take(&mut self, name: &[u8], data: &[u8], at: Instant) {
        let Some(number) = is_token(name).then(|| token_number(data)).flatten() else {
            return;
        };
        // A whole message at the end begins as its first token does.
        if number == self.count {
            self.count += 1;
            self.first = self.first.or(Some(at));
            self.last = Some(at);
        } else if number > 0 {
            self.out_of_order += 1;
        }
    }
}

pub(crate) async fn round(ground: &Ground, count: usize) -> anyhow::Result<Round> {
    let mut client = ground.server.client();
    let thread = client.thread().await?;
    let new = NewRun {
        mode: Mode::Tokens(count, AS_FAST_AS_POSSIBLE),
        ..NewRun::of("tokens", "hello")
    };
    let meter = Meter::start(ground);
    let mut events = client.stream(&thread, new).await?;
    let mut taken = Taken::default();
    while events
        .read(|name, data, at| taken.take(name, data, at))
        .await?
    {}
    let first = taken.first.context("no token came")?;
    let span = taken.last.context("no token came")? - first;
    let mut round = Round::default();
    round.set("events_per_s", rate(taken.count.saturating_sub(1), span));
    meter.note(&mut round, taken.count, "event");
    round.set("samples", count as f64);
    round.set(
        "wrong",
        (count.saturating_sub(taken.count) + taken.out_of_order) as f64,
    );
    Ok(round)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_count_in_their_order_and_the_whole_message_does_not() {
        let mut taken = Taken::default();
        let now = Instant::now();
        for content in ["t0 ", "t1 ", "t3 ", "t0 t1 t3 ", ""] {
            let data = format!(r#"[{{"content":"{content}"}}]"#);
            taken.take(b"messages", data.as_bytes(), now);
            taken.take(b"values", data.as_bytes(), now);
        }
        assert_eq!((taken.count, taken.out_of_order), (2, 1));
    }
}
