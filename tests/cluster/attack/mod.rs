//! The webhook's listener under attack, with a client beside it that behaves.
//!
//! Everything runs against a manager of its own on the loopback, is bounded in count and in time,
//! and prints a line of a table. `AGENTKUBE_BINARY=target/release/agentkube cargo test --test
//! cluster -- attack --test-threads 1 --nocapture` measures a release build, and holds it to the
//! limits that are stated in `docs/limits.md`; `.ci/run` does so. Without that variable nothing is
//! attacked.

mod bodies;
mod handshakes;
mod json;
mod protocol;
mod siege;
mod slow;
mod wire;

use crate::harness::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    use bodies::{bodies_without_end_or_with_a_wrong_length, many_bodies_of_the_largest_size};
    use handshakes::{half_open_handshakes, old_and_odd_handshakes};
    use json::{json_that_is_made_to_hurt, large_json_that_grows_in_memory};
    use protocol::{
        requests_that_are_not_ours, reviews_in_one_go_and_by_another_name, unread_answers,
    };
    use slow::{slow_bodies, slow_heads_and_idle_sessions};

    // What is demanded of memory and of times is meant for a release build, which these tests do not
    // make; a debug build on a busy machine misses it now and then.
    if std::env::var_os(siege::BINARY).is_none() {
        return Vec::new();
    }
    tests![ControlPlane:
        half_open_handshakes,
        old_and_odd_handshakes,
        slow_heads_and_idle_sessions,
        slow_bodies,
        bodies_without_end_or_with_a_wrong_length,
        many_bodies_of_the_largest_size,
        json_that_is_made_to_hurt,
        large_json_that_grows_in_memory,
        requests_that_are_not_ours,
        reviews_in_one_go_and_by_another_name,
        unread_answers,
    ]
}
