use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One line on stderr that says how far a list was read; on a terminal only, and gone at the end.
pub(super) struct Progress {
    bar: ProgressBar,
    what: String,
    done: usize,
}

impl Progress {
    /// Starts with nothing shown.
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // The words of a template that is written here are known to be right.
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            what: String::new(),
            done: 0,
        }
    }

    /// Begins with a list.
    pub(super) fn start(&mut self, what: &str) {
        what.clone_into(&mut self.what);
        self.done = 0;
        self.bar
            .set_message(format!("reading {what}"));
    }

    /// Some objects were read; `remaining` are still to come.
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
