//! What is said to the person at the terminal, all of it on stderr: stdout is for data.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

/// How often a line of progress is repeated where it cannot be rewritten in place.
const EVERY: Duration = Duration::from_secs(20);

/// Prints one line on stderr.
pub fn say(line: impl AsRef<str>) {
    write(&format!("{}\n", line.as_ref()));
}

/// One line of progress: rewritten in place on a terminal, repeated now and then in a pipe.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    shown: Option<(String, Instant)>,
}

impl Progress {
    /// Starts with nothing shown.
    #[must_use]
    pub fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            shown: None,
        }
    }

    /// Says where things stand; call it as often as you like.
    pub fn update(&mut self, line: &str) {
        if let Some((shown, at)) = &self.shown
            && (shown == line || (!self.terminal && at.elapsed() < EVERY))
        {
            return;
        }
        if self.terminal {
            write(&format!("\r\x1b[K{line}"));
        } else {
            say(line);
        }
        self.shown = Some((line.to_owned(), Instant::now()));
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// Clears the line, also when the work ends in an error.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal && self.shown.is_some() {
            write("\r\x1b[K");
        }
    }
}

/// A closed stderr is no reason to stop, so a failed write is ignored.
fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}
