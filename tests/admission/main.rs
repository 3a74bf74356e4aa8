//! Reviews in, answers out: what an API server would read, as snapshots.
#![cfg(test)]

mod agents;
mod arbitrary;
mod pods;
mod policy;
mod properties;
mod protocol;
mod references;
mod support;
mod suspects;
