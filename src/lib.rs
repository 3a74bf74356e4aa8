//! agentkube decides which image an AI coding agent's pod runs, why, and with which token; it
//! enforces that at admission, and creates the pods.
//!
//! `ARCHITECTURE.md` is the map: arrows between modules point down only.

pub mod admission;
pub mod api;
mod author_rights;
mod checks;
pub mod cli;
pub mod images;
mod index;
pub mod leader;
pub mod mirroring;
pub mod offline;
mod reconciler;
pub mod registry;
pub mod rejections;
mod scan;
pub mod server;
pub mod telemetry;
pub mod workload;

mod doubling;
#[cfg(test)]
mod fake_api;
mod log_once;
mod queries;
mod ttl_cache;
mod watch;
