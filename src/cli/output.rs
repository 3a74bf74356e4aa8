//! What the commands say.

use std::io::{self, Write};

/// Writes data to stdout. A reader that went away (`| head`) is no failure.
pub(super) fn data(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Says on stderr why a command failed: one line, what it was caused by behind it.
pub(super) fn error(error: &anyhow::Error) {
    // Where stderr is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "error: {error:#}");
}
