//! A client on a real connection that stops reading: it is closed, and nobody else notices.

use std::time::Duration;

use runloom_gateway::{Config, Impatient, RingLimits};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::Server;

/// More than all the buffers between two sockets hold.
const EVENTS: usize = 400;
const EVENT_BYTES: usize = 64 << 10;

const PATIENCE: Duration = Duration::from_millis(500);

async fn connect(address: std::net::SocketAddr, path: &str) -> BufReader<TcpStream> {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).await.unwrap();
    }
    reader
}

#[tokio::test]
async fn a_client_that_stops_reading_is_closed_and_harms_nobody() {
    let server = Server::configured(Config {
        ring: RingLimits {
            lag_bytes: 4 << 20,
            ..RingLimits::default()
        },
        ..Config::default()
    });
    let server = server.await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = Impatient::new(listener, PATIENCE);
    let serving = axum::serve(listener, server.router());
    let stopped = server.stop.clone().cancelled_owned();
    let mut tasks = JoinSet::new();
    tasks.spawn(serving.with_graceful_shutdown(stopped).into_future());

    let thread = server.thread().await;
    let run = server.background(thread, json!({})).await;
    let path = format!("{run}/stream");
    let stalled = connect(address, &path).await;
    let mut good = connect(address, &path).await;
    let (reads, mut read) = mpsc::unbounded_channel();
    tasks.spawn(async move {
        let (mut line, mut whole) = (Vec::new(), 0);
        while good.read_until(b'\n', &mut line).await? > 0 {
            if line.windows(7).any(|window| window == b"event: ") {
                whole += 1;
                let _nobody_waits_for_the_last = reads.send(());
            }
            line.clear();
        }
        assert_eq!(whole, EVENTS, "the good client has everything");
        Ok(())
    });

    let mut attempt = server.claim(thread).await;
    let text = "x".repeat(EVENT_BYTES);
    for _ in 0..EVENTS {
        attempt.emit("custom", json!(text)).await;
        // As fast as a good client reads: only who does not read at all falls behind.
        read.recv().await.expect("the good client reads on");
    }
    attempt.succeed(json!({})).await;
    // Both connections are gone: nothing holds the server up.
    server.stop.cancel();
    let all_done = async {
        while let Some(done) = tasks.join_next().await {
            done.unwrap().unwrap();
        }
        server.drain().await;
    };
    timeout(Duration::from_mins(1), all_done)
        .await
        .expect("nobody holds the server up");
    drop(stalled);
}
