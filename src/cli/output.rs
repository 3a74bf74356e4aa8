//! The output of the commands.

use std::io::{self, Write};

/// Writes data to stdout. A closed pipe (`| head`) is not an error.
pub(super) fn data(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Reports on stderr why a command failed, in one line with its causes.
pub(super) fn error(error: &anyhow::Error) {
    // Nothing can be reported once stderr is closed.
    let _ = writeln!(io::stderr(), "error: {error:#}");
}
