//! The server's connections.

use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::serve::ListenerExt as _;
use runloom_gateway::{Gateway, Impatient};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::ListenArgs;

/// How long a client may take nothing of what it is sent before its connection is closed.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// Listens where it is asked to.
pub(crate) async fn listen(args: &ListenArgs) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind((args.host.as_str(), args.port)).await;
    listener.with_context(|| format!("cannot listen on {}:{}", args.host, args.port))
}

/// Answers requests until `stop`, then lets those under way end.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    gateway: Gateway,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    // Small frames must not wait for each other.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "cannot send without delay");
        }
    });
    let listener = Impatient::new(listener, WRITE_PATIENCE);
    // A bare router would be copied with all its routes for each connection, not shared.
    let served = axum::serve(listener, routes.into_make_service())
        .with_graceful_shutdown(stop.cancelled_owned())
        .await;
    gateway.drain().await;
    served.context("the server stopped")
}
