//! How far the benchmark is, on stderr.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use agentkube_playground::talk;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a pipe is told.
const EVERY: Duration = Duration::from_secs(20);

/// A bar on a terminal, gone at the end; a line now and then in a pipe.
pub(super) struct Progress {
    bar: ProgressBar,
    terminal: bool,
    said: Option<Instant>,
}

impl Progress {
    pub(super) fn new(steps: usize) -> Self {
        let bar =
            ProgressBar::with_draw_target(u64::try_from(steps).ok(), ProgressDrawTarget::stderr());
        // The words of a template that is written here are known to be right.
        if let Ok(style) =
            ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len}  {msg}")
        {
            bar.set_style(style);
        }
        // What it says stands for a while, and the clock goes on.
        bar.enable_steady_tick(Duration::from_secs(1));
        Self {
            bar,
            terminal: std::io::stderr().is_terminal(),
            said: None,
        }
    }

    /// The next step begins.
    pub(super) fn step(&mut self, what: &str) {
        self.bar.inc(1);
        self.bar.set_message(what.to_owned());
        let is_due = self
            .said
            .is_none_or(|said| said.elapsed() > EVERY);
        if !self.terminal && is_due {
            let (step, steps) = (self.bar.position(), self.bar.length().unwrap_or_default());
            talk::say(format!("{step}/{steps}  {what}"));
            self.said = Some(Instant::now());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
