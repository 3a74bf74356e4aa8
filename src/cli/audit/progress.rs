use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress line on stderr while a list is read. Only shown on a terminal, and removed at the end.
pub(super) struct Progress {
    bar: ProgressBar,
    what: String,
    done: usize,
}

impl Progress {
    /// A progress line that is not shown yet.
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // The template is a constant and known to be valid.
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            what: String::new(),
            done: 0,
        }
    }

    /// Starts a new list.
    pub(super) fn start(&mut self, what: &str) {
        what.clone_into(&mut self.what);
        self.done = 0;
        self.bar
            .set_message(format!("reading {what}"));
    }

    /// Counts objects that were read; `remaining` are still to come.
    pub(super) fn read(&mut self, objects: usize, remaining: usize) {
        self.done += objects;
        let Self { what, done, .. } = self;
        let message = format!("reading {what}: {done} of {}", *done + remaining);
        self.bar.set_message(message);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
