//! Ctrl-C before a command has come to its end.

use std::process::ExitCode;

use agentkube_playground::{Shutdown, talk};

/// The exit status of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// Works until Ctrl-C, then ends with the exit status in `Err`. Interrupted work is dropped halfway, and
/// cleans up after itself.
///
/// # Errors
///
/// The work failed.
pub(crate) async fn until_interrupted<T>(
    shutdown: &Shutdown,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<Result<T, ExitCode>> {
    tokio::select! {
        done = work => done.map(Ok),
        () = shutdown.asked() => {
            talk::say("interrupted; nothing is left running");
            Ok(Err(ExitCode::from(INTERRUPTED)))
        }
    }
}
