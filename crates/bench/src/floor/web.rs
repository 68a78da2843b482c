//! How many requests the HTTP library answers, asked by the client that measures servers.

use std::time::{Duration, Instant};

use anyhow::ensure;
use axum::Router;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::gather;
use crate::http::{Connection, Place};
use crate::results::Round;

pub(crate) async fn round(clients: usize, span: Duration) -> anyhow::Result<Round> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let place = Place::of(&format!("http://{}", listener.local_addr()?)).await?;
    let hello = Router::new().route("/", post(async |body: String| format!("hello {body}")));
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, hello).await });
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let place = place.clone();
        tasks.spawn(async move {
            let mut connection = Connection::to(&place).await?;
            let mut samples = Vec::new();
            while began.elapsed() < span {
                let asked = Instant::now();
                let head = connection.send(&place, "POST", "/", b"world").await?;
                ensure!(head.status == 200, "a status of {}", head.status);
                while connection.piece().await?.is_some() {}
                samples.push(asked.elapsed());
            }
            anyhow::Ok(samples)
        });
    }
    gather(tasks, began, "requests_per_s").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hello_is_answered() {
        let round = round(2, Duration::from_millis(50)).await.unwrap();
        assert!(round.get("requests_per_s").unwrap() > 0.0);
    }
}
