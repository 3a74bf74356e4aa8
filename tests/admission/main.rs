//! Reviews in, answers out: what an API server would read, as snapshots.
#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod agents;
mod arbitrary;
mod pods;
mod policy;
mod properties;
mod protocol;
mod references;
mod support;
mod suspects;
