//! The limits of a listener.

use std::time::Duration;

/// The connections that a listener allows, their deadlines, and how it ends
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time
    ///
    /// One more ends the connection that is owed least: one that was never answered, and of those
    /// the one that has kept us waiting longest. While every client waits for us, no more are
    /// accepted.
    pub connections: usize,
    /// The time from an accepted connection to its TLS session
    pub handshake: Duration,
    /// The time from the first byte of a request to the end of its head
    pub head: Duration,
    /// The time that a connection may be without a request
    ///
    /// Above the 90 s for which Go's clients, the API server among them, keep an idle connection:
    /// whoever closes first must be the client, or a review that is just being sent meets a closed
    /// connection.
    pub idle: Duration,
    /// How long requests are answered after the drain has begun; `None` keeps on until the shutdown
    /// has finished
    pub drain: Option<Duration>,
    /// How long requests that are in flight at the end may take
    pub grace: Duration,
}

impl Limits {
    /// For the webhook's port, which drains for this long
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

    /// For probes and metrics, which are of use until the very end
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
