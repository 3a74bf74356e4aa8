//! The command `agentkube`.

use std::process::ExitCode;

use agentkube::cli;

fn main() -> ExitCode {
    cli::run()
}
