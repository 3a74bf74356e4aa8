//! The webhook's listener before real TLS clients: handshakes, swapped certificates, limits, drain.

#![cfg(test)]

mod body;
mod client_auth;
mod connections;
mod drain;
mod keys;
mod support;
mod tls;
