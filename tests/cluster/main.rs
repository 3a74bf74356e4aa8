//! What users see, on a real API server: the control plane of the playground, the manager as the
//! real binary with the shipped permissions, `kubectl` in the words it uses.
//!
//! `cargo test --test cluster -- NAME` runs the tests whose names contain NAME.

#![cfg(test)]

mod admission;
mod attack;
mod audit;
mod authority;
mod certificates;
mod checks;
mod client_auth;
mod cluster;
mod direct;
mod faults;
#[path = "../generator/mod.rs"]
mod generator;
mod harness;
mod images;
mod leader;
mod lending;
mod memory;
mod metrics;
mod mirror;
mod odd_times;
mod orderings;
mod policy;
mod reconciler;
mod recovery;
mod review;
mod rights;
mod rollout;
mod rotation;
mod scan;
mod secrets;
mod stranger;
mod suspects;
mod threats;
mod unreadable;
mod users;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::run(
        [
            admission::tests(),
            attack::tests(),
            audit::tests(),
            authority::tests(),
            certificates::tests(),
            checks::tests(),
            client_auth::tests(),
            faults::tests(),
            images::tests(),
            leader::tests(),
            lending::tests(),
            memory::tests(),
            metrics::tests(),
            mirror::tests(),
            odd_times::tests(),
            orderings::tests(),
            policy::tests(),
            reconciler::tests(),
            recovery::tests(),
            review::tests(),
            rights::tests(),
            rollout::tests(),
            rotation::tests(),
            scan::tests(),
            secrets::tests(),
            stranger::tests(),
            suspects::tests(),
            threats::tests(),
            unreadable::tests(),
        ]
        .into_iter()
        .flatten()
        .collect(),
    )
}
