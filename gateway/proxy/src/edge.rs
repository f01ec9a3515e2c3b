//! What Pingora's listener does not do: a bound on connections, and a deadline for a whole request head.
//!
//! Pingora limits each read of a head, so a client that sends a byte now and then holds a connection for ever; on a kept
//! connection it doesn't even limit that (0.9.1, `read_request_buf`: 60 s for each read, none with keepalive).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use pingora_core::{apps::ServerApp, protocols::Stream, server::ShutdownWatch};
use pingora_proxy::HttpProxy;
use tokio::{sync::Semaphore, time::sleep};

use crate::gate::{Gate, watching};

/// Pingora's proxy behind the bounds.
pub struct Edge {
    proxy: Arc<HttpProxy<Gate>>,
    connections: Semaphore,
    header_timeout: Duration,
    keepalive: Duration,
}

// === impl Edge ===

impl Edge {
    /// At most `max` connections; each head in `header_timeout`, after at most `keepalive` of silence on a kept one.
    pub fn new(proxy: HttpProxy<Gate>, max: usize, header_timeout: Duration, keepalive: Duration) -> Self {
        let connections = Semaphore::new(max.min(Semaphore::MAX_PERMITS));
        Self { proxy: Arc::new(proxy), connections, header_timeout, keepalive }
    }
}

#[async_trait]
impl ServerApp for Edge {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let Ok(_permit) = self.connections.try_acquire() else {
            tracing::warn!("a connection is refused: as many as `connections.max` are open");
            return None;
        };
        let mut stream = stream;
        let mut deadline = self.header_timeout;
        // A kept connection comes back for its next request; it keeps its permit.
        loop {
            let has_head = Arc::new(AtomicBool::new(false));
            let request = watching(Arc::clone(&has_head), self.proxy.process_new(stream, shutdown));
            stream = tokio::select! {
                kept = request => kept?,
                () = too_late(deadline, &has_head) => return None,
            };
            deadline = self.keepalive + self.header_timeout;
        }
    }

    async fn cleanup(&self) {
        self.proxy.cleanup().await;
    }
}

/// Ends when the deadline has passed and the head isn't there; else never.
async fn too_late(deadline: Duration, has_head: &AtomicBool) {
    sleep(deadline).await;
    if has_head.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
