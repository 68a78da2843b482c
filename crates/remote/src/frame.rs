//! How the stream between the worker and an executor is cut into messages.
//!
//! A frame is its length (4 bytes, little endian) and a msgpack array `[kind, call, method, body]`. The
//! body is kept as the bytes it came in: only who knows the method decodes it.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use rmp::{decode, encode};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

/// The largest frame, in bytes without its length.
pub const LARGEST: usize = 512 * 1024 * 1024;

/// How much is taken from the socket at once.
const READ_AT_ONCE: usize = 64 * 1024;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Asks for something.
    Request,
    /// Answers a request.
    Reply,
    /// Answers a request with an error.
    Error,
    /// Something said about a request under way.
    Item,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::Request => 0,
            Self::Reply => 1,
            Self::Error => 2,
            Self::Item => 3,
        }
    }

    fn of(number: u8) -> Option<Self> {
        [Self::Request, Self::Reply, Self::Error, Self::Item]
            .into_iter()
            .find(|kind| kind.number() == number)
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// The request that it is or belongs to.
    pub call: u64,
    /// The name of a request or an item; empty for the others.
    pub method: String,
    /// One msgpack value, not looked into.
    pub body: Bytes,
}

/// Why there is no frame. The socket is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Reading or writing failed.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// What arrived is not `[kind, call, method, body]`.
    #[error("not a frame: {0}")]
    Malformed(String),
    /// What should be sent does not fit into a frame; its size in bytes. Nothing was sent.
    #[error("a message of {0} bytes is too large")]
    TooLarge(usize),
}

impl Frame {
    /// Takes a frame apart, given without its length.
    pub fn decode(message: &Bytes) -> Result<Self, FrameError> {
        let malformed = |what: &dyn std::fmt::Display| FrameError::Malformed(what.to_string());
        let mut rest: &[u8] = message;
        let parts = decode::read_array_len(&mut rest).map_err(|error| malformed(&error))?;
        if parts < 4 {
            return Err(FrameError::Malformed(format!("{parts} parts")));
        }
        let kind: u8 = decode::read_int(&mut rest).map_err(|error| malformed(&error))?;
        let kind = Kind::of(kind).ok_or_else(|| malformed(&format_args!("kind {kind}")))?;
        let call = decode::read_int(&mut rest).map_err(|error| malformed(&error))?;
        let method = read_method(&mut rest)?;
        if rest.is_empty() {
            return Err(FrameError::Malformed("no body".to_owned()));
        }
        let body = message.slice(message.len() - rest.len()..);
        Ok(Self {
            kind,
            call,
            method,
            body,
        })
    }

    /// What precedes the body on the wire: the length, the kind, the call and the method.
    fn encode_head(&self) -> Result<Bytes, FrameError> {
        let mut head = BytesMut::with_capacity(32 + self.method.len()).writer();
        let full = "a buffer in memory takes everything";
        encode::write_array_len(&mut head, 4).expect(full);
        encode::write_uint(&mut head, u64::from(self.kind.number())).expect(full);
        encode::write_uint(&mut head, self.call).expect(full);
        if self.method.is_empty() {
            encode::write_nil(&mut head).expect(full);
        } else {
            encode::write_str(&mut head, &self.method).expect(full);
        }
        let head = head.into_inner();
        let size = head.len() + self.body.len();
        if size > LARGEST {
            return Err(FrameError::TooLarge(size));
        }
        let mut framed = BytesMut::with_capacity(4 + head.len());
        framed.put_u32_le(u32::try_from(size).expect("the largest frame fits into 32 bits"));
        framed.extend_from_slice(&head);
        Ok(framed.freeze())
    }

    /// Whether it can be sent. A frame that cannot must not be handed to [`write()`].
    pub fn fits(&self) -> Result<(), FrameError> {
        // Neither the numbers nor the name of a method come near this.
        let size = self.body.len() + self.method.len() + 64;
        if size > LARGEST {
            return Err(FrameError::TooLarge(size));
        }
        Ok(())
    }
}

fn read_method(rest: &mut &[u8]) -> Result<String, FrameError> {
    const NIL: u8 = 0xc0;
    if rest.first() == Some(&NIL) {
        *rest = &rest[1..];
        return Ok(String::new());
    }
    let (method, after) = decode::read_str_from_slice(*rest)
        .map_err(|error| FrameError::Malformed(error.to_string()))?;
    *rest = after;
    Ok(method.to_owned())
}

/// Writes a frame. Small ones are gathered if `writer` has a buffer, which the caller flushes.
pub async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    frame: &Frame,
) -> Result<(), FrameError> {
    writer.write_all(&frame.encode_head()?).await?;
    writer.write_all(&frame.body).await?;
    Ok(())
}

/// The frames that arrive on one half of a socket.
pub struct Reader<R>(FramedRead<R, LengthDelimitedCodec>);

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from `socket`.
    pub fn new(socket: R) -> Self {
        let codec = LengthDelimitedCodec::builder()
            .little_endian()
            .length_field_length(4)
            .max_frame_length(LARGEST)
            .new_codec();
        Self(FramedRead::with_capacity(socket, codec, READ_AT_ONCE))
    }

    /// The next frame; `None` when the other side has closed.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Frame, FrameError>> {
        let message = self.0.next().await?;
        Some(
            message
                .map_err(FrameError::from)
                .and_then(|message| Frame::decode(&message.freeze())),
        )
    }
}

#[cfg(test)]
mod tests;
