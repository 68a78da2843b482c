//! How the process is told to stop.

use tokio_util::sync::CancellationToken;

/// Stops everything in order at the first Ctrl-C or SIGTERM, and at once at the second.
pub(crate) async fn stop_on_signal(stop: CancellationToken) {
    match asked_to_stop().await {
        Ok(()) => tracing::info!("stopping; once more to stop at once"),
        Err(error) => return tracing::warn!(%error, "cannot listen for signals"),
    }
    stop.cancel();
    if asked_to_stop().await.is_ok() {
        std::process::exit(130);
    }
}

#[cfg(unix)]
async fn asked_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn asked_to_stop() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
