//! The limits of a listener.

use std::time::Duration;

/// The limits of a listener: connections, deadlines, and the drain.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most connections.
    ///
    /// A further one closes the connection that is owed least: one that was never answered, and of those
    /// the one that has kept us waiting longest. While every client waits for an answer, no more are
    /// accepted.
    pub connections: usize,
    /// The time limit from an accepted connection to its TLS session.
    pub handshake: Duration,
    /// The time limit from the first byte of a request to the end of its head.
    pub head: Duration,
    /// The time limit of a connection without a request.
    ///
    /// Above the 90 s for which Go's clients, such as the API server, keep an idle connection: the
    /// client must close first, or a review that is just being sent meets a closed connection.
    pub idle: Duration,
    /// The time for which requests are answered after the drain has begun; `None` until the shutdown has
    /// finished.
    pub drain: Option<Duration>,
    /// The time limit of requests that are in flight at the end.
    pub grace: Duration,
}

impl Limits {
    /// The limits of the webhook port, which drains for this long.
    #[must_use]
    pub fn webhook(drain: Duration) -> Self {
        Self {
            connections: 512,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            drain: Some(drain),
            grace: Duration::from_secs(10),
        }
    }

    /// The limits of probes and metrics, which are needed until the very end.
    #[must_use]
    pub fn auxiliary() -> Self {
        Self {
            connections: 64,
            drain: None,
            grace: Duration::from_secs(1),
            ..Self::webhook(Duration::ZERO)
        }
    }
}
