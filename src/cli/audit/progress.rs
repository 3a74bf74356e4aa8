use std::fmt::Display;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One line on stderr that says how far a list was read; on a terminal only, and gone at the end.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Starts with nothing shown.
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // The words of a template that is written here are known to be right.
        if let Ok(style) = ProgressStyle::with_template("reading {msg}: {pos} of {len}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Begins with a list.
    pub(super) fn start(&self, what: impl Display) {
        self.0.set_message(what.to_string());
        self.0.set_position(0);
    }

    /// Some objects were read; `remaining` are still to come.
    pub(super) fn read(&self, objects: u64, remaining: u64) {
        self.0
            .set_length(self.0.position() + objects + remaining);
        self.0.inc(objects);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
