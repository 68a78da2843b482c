use super::*;

fn frame(kind: Kind, method: &str, body: &[u8]) -> Frame {
    Frame {
        kind,
        call: 300,
        method: method.to_owned(),
        body: Bytes::copy_from_slice(body),
    }
}

async fn written(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        write(&mut bytes, frame).await.unwrap();
    }
    bytes
}

/// Everything that is read, up to the end or the first error.
async fn read(bytes: &[u8]) -> (Vec<Frame>, Option<FrameError>) {
    let mut reader = Reader::new(bytes);
    let mut frames = Vec::new();
    while let Some(next) = reader.next().await {
        match next {
            Ok(frame) => frames.push(frame),
            Err(error) => return (frames, Some(error)),
        }
    }
    (frames, None)
}

fn all_kinds() -> [Frame; 4] {
    [
        frame(Kind::Request, "run", b"\x80"),
        frame(Kind::Item, "events", b"\x90"),
        frame(Kind::Reply, "", b"\xc0"),
        frame(Kind::Error, "", &[0x81, 0xa1, b'a', 0x01]),
    ]
}

/// A message, given without its length, as it stands on the wire.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_le_bytes();
    [&length, message].concat()
}

#[tokio::test]
async fn what_is_written_is_read() {
    let frames = all_kinds();
    let (read, error) = read(&written(&frames).await).await;
    assert_eq!(read, frames);
    assert!(error.is_none());
}

#[tokio::test]
async fn the_wire_looks_as_documented() {
    let bytes = written(&[frame(Kind::Request, "run", b"\x80")]).await;
    // a length of ten, an array of four, 0, the number 300, "run", an empty map
    let expected = b"\x0a\0\0\0\x94\x00\xcd\x01\x2c\xa3run\x80";
    assert_eq!(bytes, expected);
}

#[tokio::test]
async fn a_large_frame_arrives_whole_in_pieces() {
    let (ours, theirs) = tokio::io::duplex(1000);
    let sent = frame(Kind::Reply, "", &vec![7; 300_000]);
    let mut reader = Reader::new(ours);
    let mut writer = theirs;
    let (written, read) = tokio::join!(write(&mut writer, &sent), reader.next());
    written.unwrap();
    assert_eq!(read.unwrap().unwrap(), sent);
}

#[tokio::test]
async fn a_frame_that_is_cut_off_is_an_error_and_never_half_a_frame() {
    let frames = all_kinds();
    let bytes = written(&frames).await;
    let mut ends = vec![0];
    for frame in &frames {
        ends.push(ends.last().unwrap() + written(std::slice::from_ref(frame)).await.len());
    }
    for cut in 0..bytes.len() {
        let (read, error) = read(&bytes[..cut]).await;
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(read, frames[..whole], "cut at {cut}");
        // A length of which nothing follows is as good as nothing.
        let fine = ends.iter().any(|end| [*end, end + 4].contains(&cut));
        assert_eq!(error.is_none(), fine, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_length_beyond_the_limit_is_refused_before_anything_is_read() {
    let length = u32::try_from(LARGEST + 1).unwrap();
    let (read, error) = read(&length.to_le_bytes()).await;
    assert!(read.is_empty());
    assert!(matches!(error, Some(FrameError::Socket(_))), "{error:?}");
}

#[tokio::test]
async fn more_parts_than_known_are_ignored() {
    let (read, error) = read(&framed(b"\x95\x03\x01\xa1x\x80\xc3")).await;
    assert!(error.is_none());
    assert_eq!((read[0].kind, &*read[0].method), (Kind::Item, "x"));
    let body: crate::protocol::OnBehalf = crate::protocol::decode(b"\x81\xa4call\x05\xc3").unwrap();
    assert_eq!(body.call, 5);
}

#[tokio::test]
async fn what_is_no_frame_is_an_error() {
    let broken: [&[u8]; 9] = [
        b"",
        b"\x80",                     // a map
        b"\x93\x00\x01\xa1x",        // too few parts
        b"\x94\x00\x01\xa1x",        // no body
        b"\x94\x04\x01\xa1x\x80",    // an unknown kind
        b"\x94\x00\xff\xa1x\x80",    // a negative number
        b"\x94\x00\x01\x07\x80",     // a number for a method
        b"\x94\x00\x01\xa5x",        // a method that is cut off
        b"\x94\x00\x01\xa1\xff\x80", // a method that is no text
    ];
    for message in broken {
        let decoded = Frame::decode(&Bytes::copy_from_slice(message));
        assert!(
            matches!(decoded, Err(FrameError::Malformed(_))),
            "{message:?} gave {decoded:?}"
        );
    }
}

#[tokio::test]
async fn nonsense_panics_nobody() {
    let mut random = fastrand::Rng::with_seed(1);
    let good = written(&all_kinds()).await;
    for _ in 0..20_000 {
        // Half of it noise, half of it frames with a few wrong bytes.
        let mut bytes = good.clone();
        if random.bool() {
            bytes.truncate(random.usize(..good.len()));
            random.fill(&mut bytes);
        } else {
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
        }
        let (frames, _) = read(&bytes).await;
        for frame in frames {
            let _ = crate::protocol::decode::<crate::protocol::OnBehalf>(&frame.body);
            let _ = crate::protocol::decode::<crate::protocol::RunEnded>(&frame.body);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_sent() {
    let too_large = frame(Kind::Reply, "", &vec![0; LARGEST]);
    assert!(matches!(too_large.fits(), Err(FrameError::TooLarge(_))));
    assert!(frame(Kind::Reply, "", b"\xc0").fits().is_ok());
}
