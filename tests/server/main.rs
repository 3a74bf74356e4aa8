//! The webhook's listener before real TLS clients: handshakes, swapped certificates, limits, drain.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected has failed"
)]

mod body;
mod client_auth;
mod connections;
mod drain;
mod keys;
mod support;
mod tls;
