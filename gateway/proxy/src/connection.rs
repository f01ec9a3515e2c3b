//! What is known of a client's connection beneath its requests: whether one is under way, and if not, since when.
//!
//! Pingora limits each read of a head, so a client that sends a byte now and then would hold a connection for ever, and it
//! reads heads of up to a mebibyte. Here it is the whole head that has a deadline and a size, for the first request of a
//! connection and for each later one.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pingora_core::protocols::Digest;
use tokio::sync::Notify;

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    state: Mutex<State>,
    /// Rung for each request.
    begun: Notify,
}

/// What a client may take between its requests.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a whole head, from its first byte on; for the first one, from when the connection is open.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// How many bytes may be read of a head, with what comes behind it in the same packets.
    pub bytes: usize,
    /// Whether requests come side by side, as with HTTP/2. Then only the first one is waited for here: what comes later may
    /// be of any of them, and who serves them knows when there is none.
    pub has_streams: bool,
}

/// More was read of a head than may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadTooLong;

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// None while there are handshakes.
    patience: Option<Patience>,
    /// Requests under way; only HTTP/2 has several.
    requests: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has come yet.
    New,
    /// A head has begun and isn't whole; so many bytes of it, or behind it, have been read.
    Head(usize),
    Busy,
    /// A request has ended, and nothing of another has come.
    Kept,
}

// === impl Connection ===

impl Connection {
    /// One that has just been accepted.
    pub fn new() -> Arc<Self> {
        let state = State { phase: Phase::New, since: Instant::now(), patience: None, requests: 0 };
        Arc::new(Self { state: Mutex::new(state), begun: Notify::new() })
    }

    /// The one beneath a request; none, if nobody watches it.
    pub fn of(digest: Option<&Digest>) -> Option<&Arc<Self>> {
        digest?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
    }

    /// Its handshakes are over: from now on, requests may come.
    pub fn opens(&self, patience: Patience) {
        let mut state = self.state();
        (state.phase, state.since, state.patience) = (Phase::New, Instant::now(), Some(patience));
    }

    /// Something has come.
    ///
    /// # Errors
    /// [`HeadTooLong`].
    pub fn has_read(&self, bytes: usize) -> Result<(), HeadTooLong> {
        let mut state = self.state();
        let Some(patience) = state.patience.filter(|patience| !patience.has_streams) else { return Ok(()) };
        let before = match state.phase {
            Phase::Busy => return Ok(()),
            Phase::New => 0,
            Phase::Head(before) => before,
            Phase::Kept => {
                state.since = Instant::now();
                0
            }
        };
        let read = before.saturating_add(bytes);
        state.phase = Phase::Head(read);
        if read > patience.bytes { Err(HeadTooLong) } else { Ok(()) }
    }

    /// A head is complete.
    pub fn begins_request(&self) {
        let mut state = self.state();
        state.phase = Phase::Busy;
        state.requests += 1;
        drop(state);
        self.begun.notify_one();
    }

    /// A request has ended.
    pub fn ends_request(&self) {
        let mut state = self.state();
        state.requests = state.requests.saturating_sub(1);
        if state.requests == 0 {
            (state.phase, state.since) = (Phase::Kept, Instant::now());
        }
    }

    /// When the client has taken too long, unless something comes of it before.
    pub fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        let patience = state.patience?;
        match state.phase {
            Phase::New | Phase::Head(_) => Some(state.since + patience.head),
            Phase::Kept if !patience.has_streams => Some(state.since + patience.idle),
            Phase::Kept | Phase::Busy => None,
        }
    }

    /// Whether a request is waited for, or the rest of one, and not merely whether another one comes.
    pub fn is_unheard(&self) -> bool {
        matches!(self.state().phase, Phase::New | Phase::Head(_))
    }

    /// Ends when its first request has begun, if it isn't [unheard](Connection::is_unheard) any more. One may wait for it.
    pub async fn is_heard(&self) {
        while self.is_unheard() {
            self.begun.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { head: Duration::from_secs(10), idle: Duration::from_secs(75), bytes: 100, has_streams: false };

    /// In whole seconds from now, rounded up.
    fn left(connection: &Connection) -> Option<u64> {
        let left = connection.deadline()?.saturating_duration_since(Instant::now());
        Some((left + Duration::from_millis(999)).as_secs())
    }

    #[test]
    fn each_head_has_its_deadline_and_what_is_under_way_has_none() {
        let connection = Connection::new();
        assert_eq!(connection.has_read(1000), Ok(()), "a handshake may be longer than a head");
        assert_eq!(left(&connection), None, "and has a limit of its own");
        connection.opens(PATIENCE);
        assert_eq!(left(&connection), Some(10));
        let before = connection.deadline();
        assert_eq!(connection.has_read(1), Ok(()));
        assert_eq!(connection.deadline(), before, "a byte wins no time");
        assert!(connection.is_unheard());
        connection.begins_request();
        assert_eq!(connection.has_read(1), Ok(()));
        assert_eq!(left(&connection), None, "a body has other limits");
        connection.ends_request();
        assert_eq!(left(&connection), Some(75));
        assert!(!connection.is_unheard());
        assert_eq!(connection.has_read(1), Ok(()));
        assert_eq!(left(&connection), Some(10), "the second head is no different");
    }

    #[test]
    fn each_head_has_a_size_and_a_body_has_another() {
        let connection = Connection::new();
        connection.opens(PATIENCE);
        for _ in 0..2 {
            assert_eq!([connection.has_read(60), connection.has_read(40)], [Ok(()); 2]);
            connection.begins_request();
            assert_eq!(connection.has_read(1000), Ok(()));
            connection.ends_request();
        }
        assert_eq!([connection.has_read(60), connection.has_read(41)], [Ok(()), Err(HeadTooLong)]);
    }

    #[test]
    fn of_many_streams_only_the_first_is_waited_for_here() {
        let connection = Connection::new();
        connection.opens(Patience { has_streams: true, ..PATIENCE });
        assert_eq!((connection.has_read(1000), left(&connection)), (Ok(()), Some(10)));
        connection.begins_request();
        connection.begins_request();
        connection.ends_request();
        assert_eq!(left(&connection), None);
        connection.ends_request();
        assert_eq!((connection.has_read(1000), left(&connection)), (Ok(()), None));
    }

    #[tokio::test]
    async fn the_first_request_of_a_connection_can_be_waited_for() {
        let connection = Connection::new();
        connection.opens(Patience { has_streams: true, ..PATIENCE });
        let waiting = tokio::spawn({
            let connection = Arc::clone(&connection);
            async move { connection.is_heard().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        connection.begins_request();
        waiting.await.unwrap();
        connection.ends_request();
        connection.is_heard().await;
    }
}
