//! A small HTTP/1.1 client. It shares the machine with the server that it measures, so it does next to
//! nothing: one write for a request, one buffer for the answers, bodies handed out where they lie.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection that was idle for longer is replaced: servers close theirs at a time of their choice.
const IDLE: Duration = Duration::from_millis(800);

/// What is read at once, to begin with.
const BUFFER: usize = 4096;

/// Longer heads are refused.
const MOST_HEAD: usize = 64 * 1024;

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    address: SocketAddr,
    host: String,
}

impl Place {
    /// The place that `url` names.
    pub(crate) async fn of(url: &str) -> anyhow::Result<Self> {
        let host = url.strip_prefix("http://");
        let host = host.with_context(|| format!("{url} does not begin with http://"))?;
        let host = host.trim_end_matches('/').to_owned();
        ensure!(!host.contains('/'), "{url} has a path");
        let mut named = host.clone();
        if !host.contains(':') {
            named.push_str(":80");
        }
        let found = tokio::net::lookup_host(named).await;
        let addresses: Vec<_> = found
            .with_context(|| format!("no address for {url}"))?
            .collect();
        // What listens on both families is asked on the older one, which all peers have.
        let address = addresses.iter().find(|address| address.is_ipv4());
        let address = address.or(addresses.first());
        Ok(Self {
            address: *address.with_context(|| format!("no address for {url}"))?,
            host,
        })
    }
}

/// The beginning of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) content_location: Option<String>,
}

/// What is still to come of an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Length(u64),
    Chunk(Chunk),
    UntilClose,
    Done,
}

/// A place in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Size,
    Data(u64),
    Gap,
    Trailer,
}

/// A connection to a server. It carries one request after another.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of the buffer was read from the server and is not used up.
    unread: Range<usize>,
    /// The piece of a body that was handed out last.
    last: Range<usize>,
    body: Body,
    keep: bool,
    /// When something was last read.
    pub(crate) read_at: Instant,
}

impl Connection {
    pub(crate) async fn to(place: &Place) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(place.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER],
            unread: 0..0,
            last: 0..0,
            body: Body::Done,
            keep: true,
            read_at: Instant::now(),
        })
    }

    /// Whether another request can go over it.
    pub(crate) fn is_reusable(&self) -> bool {
        self.keep
            && self.body == Body::Done
            && self.unread.is_empty()
            && self.read_at.elapsed() < IDLE
    }

    /// Sends a request and reads the head of its answer.
    pub(crate) async fn send(
        &mut self,
        place: &Place,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> anyhow::Result<Head> {
        let mut request = Vec::with_capacity(192 + path.len() + body.len());
        request.extend_from_slice(method.as_bytes());
        request.push(b' ');
        request.extend_from_slice(path.as_bytes());
        request.extend_from_slice(b" HTTP/1.1\r\nhost: ");
        request.extend_from_slice(place.host.as_bytes());
        request.extend_from_slice(b"\r\naccept: */*\r\n");
        if method != "GET" {
            request.extend_from_slice(b"content-type: application/json\r\ncontent-length: ");
            request.extend_from_slice(body.len().to_string().as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        self.keep = false;
        self.stream.write_all(&request).await?;
        self.head().await
    }

    async fn head(&mut self) -> anyhow::Result<Head> {
        let mut seen = 0;
        let length = loop {
            let unread = &self.buffer[self.unread.clone()];
            if let Some(at) = memmem::find(&unread[seen..], b"\r\n\r\n") {
                break seen + at + 4;
            }
            seen = unread.len().saturating_sub(3);
            ensure!(seen < MOST_HEAD, "the head of an answer is too long");
            ensure!(self.fill().await? > 0, "the server closed the connection");
        };
        let start = self.unread.start;
        let (head, body, keep) = parse_head(&self.buffer[start..start + length])?;
        self.unread.start += length;
        (self.body, self.keep) = (body, keep);
        Ok(head)
    }

    /// Reads more. Gives how much; nothing if the server has ended the connection.
    async fn fill(&mut self) -> anyhow::Result<usize> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.end == self.buffer.len() {
            if self.unread.start > 0 {
                self.buffer.copy_within(self.unread.clone(), 0);
                self.unread = 0..self.unread.len();
            } else {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
        }
        let read = self
            .stream
            .read(&mut self.buffer[self.unread.end..])
            .await?;
        self.unread.end += read;
        self.read_at = Instant::now();
        Ok(read)
    }

    /// The next piece of the body, or none at its end.
    pub(crate) async fn piece(&mut self) -> anyhow::Result<Option<&[u8]>> {
        loop {
            match self.body {
                Body::Done => return Ok(None),
                Body::Length(0) => self.body = Body::Done,
                Body::Length(left) => {
                    let range = self.take(left).await?;
                    self.body = Body::Length(left - range.len() as u64);
                    return Ok(Some(self.hand_out(range)));
                }
                Body::UntilClose => {
                    if self.unread.is_empty() && self.fill().await? == 0 {
                        self.body = Body::Done;
                    } else {
                        let range = self.take(u64::MAX).await?;
                        return Ok(Some(self.hand_out(range)));
                    }
                }
                Body::Chunk(Chunk::Data(0)) => self.body = Body::Chunk(Chunk::Gap),
                Body::Chunk(Chunk::Data(left)) => {
                    let range = self.take(left).await?;
                    self.body = Body::Chunk(Chunk::Data(left - range.len() as u64));
                    return Ok(Some(self.hand_out(range)));
                }
                Body::Chunk(Chunk::Size) => {
                    let line = self.line().await?;
                    let size = chunk_size(&self.buffer[line])?;
                    self.body = Body::Chunk(match size {
                        0 => Chunk::Trailer,
                        size => Chunk::Data(size),
                    });
                }
                Body::Chunk(Chunk::Gap) => {
                    let line = self.line().await?;
                    ensure!(line.is_empty(), "a chunk is longer than it said");
                    self.body = Body::Chunk(Chunk::Size);
                }
                Body::Chunk(Chunk::Trailer) => {
                    if self.line().await?.is_empty() {
                        self.body = Body::Done;
                    }
                }
            }
        }
    }

    fn hand_out(&mut self, range: Range<usize>) -> &[u8] {
        self.last = range;
        self.last()
    }

    /// The piece of a body that was handed out last, until more is read.
    pub(crate) fn last(&self) -> &[u8] {
        &self.buffer[self.last.clone()]
    }

    /// At most `most` bytes of what comes next, at least one.
    async fn take(&mut self, most: u64) -> anyhow::Result<Range<usize>> {
        if self.unread.is_empty() {
            ensure!(self.fill().await? > 0, "the server ended within an answer");
        }
        let length = usize::try_from(most).unwrap_or(usize::MAX);
        let length = length.min(self.unread.len());
        let start = self.unread.start;
        self.unread.start += length;
        Ok(start..start + length)
    }

    /// The next line, without its end.
    async fn line(&mut self) -> anyhow::Result<Range<usize>> {
        loop {
            let unread = &self.buffer[self.unread.clone()];
            if let Some(at) = memchr::memchr(b'\n', unread) {
                let start = self.unread.start;
                self.unread.start += at + 1;
                let end = start + at;
                let ends_in_two = at > 0 && self.buffer[end - 1] == b'\r';
                return Ok(start..end - usize::from(ends_in_two));
            }
            ensure!(unread.len() < MOST_HEAD, "a line of an answer is too long");
            ensure!(self.fill().await? > 0, "the server ended within an answer");
        }
    }
}

fn chunk_size(line: &[u8]) -> anyhow::Result<u64> {
    let text = std::str::from_utf8(line)?;
    let digits = text.split(';').next().unwrap_or_default().trim();
    u64::from_str_radix(digits, 16).with_context(|| format!("{digits:?} is no chunk's size"))
}

/// Reads a head: what it says, what body follows, and whether the connection lives on.
fn parse_head(bytes: &[u8]) -> anyhow::Result<(Head, Body, bool)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    if response.parse(bytes)?.is_partial() {
        bail!("half a head");
    }
    let status = response.code.unwrap_or_default();
    let mut head = Head {
        status,
        content_location: None,
    };
    let mut body = match status {
        204 | 304 => Body::Done,
        _ => Body::UntilClose,
    };
    let mut keep = response.version == Some(1);
    for header in response.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") && body == Body::UntilClose {
            body = Body::Length(value.parse().context("a content-length")?);
        } else if is("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            body = Body::Chunk(Chunk::Size);
        } else if is("connection") && value.eq_ignore_ascii_case("close") {
            keep = false;
        } else if is("content-location") {
            head.content_location = Some(value.to_owned());
        }
    }
    Ok((head, body, keep && body != Body::UntilClose))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Reads an answer that a server sends in these pieces.
    async fn answer(pieces: &'static [&'static str]) -> anyhow::Result<(Head, String, bool)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let place = Place::of(&format!("http://{}", listener.local_addr()?)).await?;
        let server = async {
            let (mut stream, _) = listener.accept().await?;
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await?;
            for piece in pieces {
                stream.write_all(piece.as_bytes()).await?;
                stream.flush().await?;
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        };
        let client = async {
            let mut connection = Connection::to(&place).await?;
            let head = connection.send(&place, "GET", "/", b"").await?;
            let mut text = Vec::new();
            while let Some(piece) = connection.piece().await? {
                text.extend_from_slice(piece);
            }
            Ok((head, String::from_utf8(text)?, connection.is_reusable()))
        };
        let (answer, done) = tokio::join!(client, server);
        done?;
        answer
    }

    #[tokio::test]
    async fn a_body_with_a_length_ends_there() {
        let pieces = &["HTTP/1.1 200 OK\r\nContent-Length: 5\r", "\n\r\nhel", "lo"];
        let (head, text, reusable) = answer(pieces).await.unwrap();
        assert_eq!((head.status, text.as_str(), reusable), (200, "hello", true));
    }

    #[tokio::test]
    async fn chunks_are_put_together_however_they_are_cut() {
        let (head, text, reusable) = answer(&[
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-location: /x\r\n\r\n4\r",
            "\nhell\r\n",
            "7;name=value\r\no world\r\n0\r\n\r\n",
        ])
        .await
        .unwrap();
        assert_eq!(head.content_location.as_deref(), Some("/x"));
        assert_eq!((text.as_str(), reusable), ("hello world", true));
    }

    #[tokio::test]
    async fn without_any_length_the_body_ends_with_the_connection() {
        let (_, text, reusable) = answer(&["HTTP/1.1 200 OK\r\n\r\nhello"]).await.unwrap();
        assert_eq!((text.as_str(), reusable), ("hello", false));
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_an_error() {
        let cut = answer(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"]).await;
        assert!(cut.is_err());
        let cut = answer(&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhel"]).await;
        assert!(cut.is_err());
    }
}
