//! Connections that are given up when their client does not take what it is sent.
//!
//! A client that stops reading is no longer asked for by its own stream: only the connection itself
//! can tell. Otherwise it would be kept for ever, and hold up a server that stops.

use std::pin::Pin;
use std::time::Duration;

use axum::serve::Listener;
use tokio_io_timeout::TimeoutStream;

/// A listener whose connections are closed when a write waits longer than a while.
pub struct Impatient<L> {
    listener: L,
    patience: Duration,
}

impl<L: Listener> Impatient<L> {
    /// Connections of `listener` that wait so long.
    pub fn new(listener: L, patience: Duration) -> Self {
        Self { listener, patience }
    }
}

impl<L: Listener> Listener for Impatient<L> {
    type Io = Pin<Box<TimeoutStream<L::Io>>>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (connection, address) = self.listener.accept().await;
        let mut connection = TimeoutStream::new(connection);
        connection.set_write_timeout(Some(self.patience));
        (Box::pin(connection), address)
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
