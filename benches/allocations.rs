//! Allocations of a decision: `cargo bench --bench allocations`.
//!
//! Apart from the times, because whatever counts allocations makes them slower. A block that grows
//! counts as a new one.

#![expect(clippy::print_stdout, reason = "this is what it is for")]

mod cases;

fn main() {
    println!(
        "{:<16} {:>12} {:>8} {:>14}",
        "", "allocations", "bytes", "bytes at once"
    );
    for case in cases::all() {
        let counted = allocation_counter::measure(&case.run);
        println!(
            "{:<16} {:>12} {:>8} {:>14}",
            case.name, counted.count_total, counted.bytes_total, counted.bytes_max
        );
    }
}
