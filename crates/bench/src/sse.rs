//! Server-sent events, as far as the scenarios look at them: names, and the beginning of the data.

/// More of an event's data is not kept: what is looked for stands at its beginning.
const MOST_DATA: usize = 4096;

/// Finds events in a stream that comes in pieces.
#[derive(Default)]
pub(crate) struct Scanner {
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    /// The name and the data of the event that is being read.
    name: Vec<u8>,
    data: Vec<u8>,
}

impl Scanner {
    /// Reads a piece; `on` is told the name and the data of each event that ends in it.
    pub(crate) fn push(&mut self, mut piece: &[u8], mut on: impl FnMut(&[u8], &[u8])) {
        while let Some(at) = memchr::memchr(b'\n', piece) {
            let (line, rest) = (&piece[..at], &piece[at + 1..]);
            piece = rest;
            if self.rest.is_empty() {
                self.line(line, &mut on);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.line(&whole, &mut on);
                whole.clear();
                self.rest = whole;
            }
        }
        self.rest.extend_from_slice(piece);
    }

    fn line(&mut self, line: &[u8], on: &mut impl FnMut(&[u8], &[u8])) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            if !self.data.is_empty() {
                on(&self.name, &self.data);
            }
            self.name.clear();
            self.data.clear();
        } else if let Some(name) = line.strip_prefix(b"event:") {
            self.name.clear();
            self.name.extend_from_slice(name.trim_ascii());
        } else if let Some(data) = line.strip_prefix(b"data:") {
            // Some servers write a document over many lines. Its spaces mean nothing here.
            let data = data.trim_ascii();
            let room = MOST_DATA.saturating_sub(self.data.len());
            self.data.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
}

/// Whether events of that name carry tokens.
pub(crate) fn is_token(name: &[u8]) -> bool {
    name == b"messages" || name.starts_with(b"messages|")
}

/// The number of the token that an event carries. The graphs name their tokens `t0 `, `t1 `, …
pub(crate) fn token_number(data: &[u8]) -> Option<usize> {
    let at = memchr::memmem::find(data, br#""content""#)?;
    let value = data[at + br#""content""#.len()..].trim_ascii_start();
    let value = value.strip_prefix(b":")?.trim_ascii_start();
    let value = value.strip_prefix(b"\"t")?;
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
    let mut number = None;
    for digit in digits {
        let so_far = number.unwrap_or(0_usize).checked_mul(10)?;
        number = Some(so_far + usize::from(digit - b'0'));
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": heartbeat\n\nevent: metadata\ndata: {\"run_id\":\"r\"}\n\n\
        id: 1\r\nevent: messages\r\ndata: [1,\r\ndata:   2]\r\n\r\nevent: end\ndata\n\n";

    #[test]
    fn events_are_found_however_the_stream_is_cut() {
        for size in 1..STREAM.len() {
            let mut scanner = Scanner::default();
            let mut found = Vec::new();
            for piece in STREAM.as_bytes().chunks(size) {
                scanner.push(piece, |name, data| {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    found.push((text(name), text(data)));
                });
            }
            let pair = |name: &str, data: &str| (name.to_owned(), data.to_owned());
            let expected = [
                pair("metadata", "{\"run_id\":\"r\"}"),
                pair("messages", "[1,2]"),
            ];
            assert_eq!(found, expected, "cut every {size} bytes");
        }
    }

    #[test]
    fn tokens_are_counted_by_what_they_say() {
        assert_eq!(
            token_number(br#"[{"id":"x","content":"t17 ","type":"ai"},{}]"#),
            Some(17)
        );
        assert_eq!(token_number(br#"[{"content": "t0 "}]"#), Some(0));
        assert_eq!(token_number(br#"[{"content":""}]"#), None);
        assert_eq!(token_number(br#"[{"content":"the end"}]"#), None);
        assert!(is_token(b"messages") && !is_token(b"messages/partial") && !is_token(b"values"));
    }
}
