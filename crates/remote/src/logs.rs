//! What an executor writes to its standard output and error, as log lines of the worker.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tracing::{debug, error, info, warn};

/// The longest line that is looked at, in bytes: the rest of it is dropped. An attributed line may carry
/// 64 KiB of text, each byte of which may take six.
const LONGEST: usize = 512 * 1024;

/// The longest line without attribution, in bytes.
const LONGEST_PLAIN: usize = 16 * 1024;

/// How many lines are kept to explain why a process ended.
const KEPT: usize = 40;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// The last lines of a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn keep(&self, line: &str) {
        let mut lines = self.0.lock().expect("nobody panics with this lock");
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    /// The lines as one text.
    pub(crate) fn text(&self) -> String {
        let mut lines = self.0.lock().expect("nobody panics with this lock");
        lines.make_contiguous().join("\n")
    }
}

/// A line whose author is known,
/// `{"runloom": {level, logger, run_id, thread_id, trace_id, message}}`.
#[derive(Deserialize)]
struct Attributed {
    runloom: Said,
}

#[derive(Deserialize)]
struct Said {
    level: String,
    #[serde(default)]
    logger: Option<String>,
    #[serde(default)]
    run_id: Option<String>,
    #[serde(default)]
    thread_id: Option<String>,
    #[serde(default)]
    trace_id: Option<String>,
    message: String,
}

/// Logs the lines of `output` until its end.
pub(crate) async fn capture(output: impl AsyncRead + Unpin, source: Source, pid: u32, tail: Tail) {
    let mut output = BufReader::with_capacity(64 * 1024, output);
    let mut line = Vec::new();
    let mut dropped = 0;
    loop {
        let piece = match output.fill_buf().await {
            Ok([]) => break,
            Ok(piece) => piece,
            Err(error) => {
                debug!(%error, "cannot read what an executor writes");
                break;
            }
        };
        let end = piece.iter().position(|byte| *byte == b'\n');
        let text = &piece[..end.unwrap_or(piece.len())];
        let fits = text.len().min(LONGEST - line.len());
        line.extend_from_slice(&text[..fits]);
        dropped += text.len() - fits;
        let taken = text.len() + usize::from(end.is_some());
        output.consume(taken);
        if end.is_some() {
            log(&line, dropped, source, pid, &tail);
            line.clear();
            dropped = 0;
        }
    }
    if !line.is_empty() {
        log(&line, dropped, source, pid, &tail);
    }
}

fn log(line: &[u8], mut dropped: usize, source: Source, pid: u32, tail: &Tail) {
    let source: &str = source.into();
    if dropped == 0
        && line.starts_with(b"{\"runloom\"")
        && let Ok(Attributed { runloom: said }) = serde_json::from_slice(line)
    {
        tail.keep(&said.message);
        attributed(&said, pid);
        return;
    }
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let kept = line.len().min(LONGEST_PLAIN);
    dropped += line.len() - kept;
    let mut text = String::from_utf8_lossy(&line[..kept]).into_owned();
    if dropped > 0 {
        text = format!("{text}… and {dropped} bytes more");
    }
    tail.keep(&text);
    info!(executor.pid = pid, stream = source, "{text}");
}

fn attributed(said: &Said, pid: u32) {
    let logger = said.logger.as_deref();
    let (run, thread) = (said.run_id.as_deref(), said.thread_id.as_deref());
    let (trace, message) = (said.trace_id.as_deref(), &said.message);
    macro_rules! say {
        ($level:ident) => {
            $level!(
                executor.pid = pid,
                logger,
                run.id = run,
                thread.id = thread,
                trace.id = trace,
                "{message}"
            )
        };
    }
    match said.level.as_str() {
        "critical" | "error" => say!(error),
        "warning" => say!(warn),
        "debug" => say!(debug),
        _ => say!(info),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn kept(output: &[u8]) -> Vec<String> {
        let tail = Tail::default();
        capture(output, Source::Stdout, 1, tail.clone()).await;
        tail.0.lock().unwrap().iter().cloned().collect()
    }

    #[tokio::test]
    async fn lines_are_taken_apart_and_the_last_one_needs_no_end() {
        assert_eq!(
            kept(b"one\r\n\ntwo \xff").await,
            ["one", "", "two \u{fffd}"]
        );
    }

    #[tokio::test]
    async fn attributed_lines_lose_their_wrapping() {
        let line = br#"{"runloom":{"level":"info","logger":"x","run_id":null,"message":"hi"}}"#;
        assert_eq!(kept(line).await, ["hi"]);
        let other = br#"{"runloom": 1}"#;
        assert_eq!(kept(other).await, [r#"{"runloom": 1}"#]);
    }

    #[tokio::test]
    async fn a_line_without_end_takes_little_memory() {
        let kept = kept(&vec![b'x'; 3_000_000]).await;
        let [line] = &kept[..] else {
            panic!("one line, not {}", kept.len())
        };
        assert!(line.len() < LONGEST_PLAIN + 50);
        assert!(line.ends_with(&format!("{} bytes more", 3_000_000 - LONGEST_PLAIN)));
    }

    #[tokio::test]
    async fn only_the_last_lines_are_kept() {
        let output: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        let kept = kept(output.join("\n").as_bytes()).await;
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept.last().unwrap(), "99");
    }
}
