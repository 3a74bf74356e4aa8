//! Nanoseconds of a decision, by criterion: `cargo bench --bench decisions`.
//!
//! ```text
//! cargo bench --bench decisions -- patch-pod                     # one of them
//! cargo bench --bench decisions -- --save-baseline before        # to be compared with later
//! cargo bench --bench decisions -- --baseline before
//! ```

mod cases;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .without_plots()
        .configure_from_args();
    for case in cases::all() {
        criterion.bench_function(case.name, |bencher| bencher.iter(&case.run));
    }
    criterion.final_summary();
}
