use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Interval of progress lines if stderr is not a terminal. A check that ends sooner prints none.
const EVERY: Duration = Duration::from_secs(20);

/// Redraw interval of the bar, so that a hanging registry does not look like a hanging program.
const TICK: Duration = Duration::from_millis(250);

/// The progress of a check on stderr: a bar on a terminal, else a line now and then.
pub(super) struct Progress {
    bar: ProgressBar,
    answered: usize,
    total: usize,
    /// The time of the last plain line, or of the start.
    said: Instant,
}

impl Progress {
    /// Progress at 0 of `total`.
    pub(super) fn new(total: usize) -> Self {
        // Draws only if stderr is a terminal that can move its cursor.
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(u64::try_from(total).ok(), target);
        if !bar.is_hidden() {
            bar.set_style(style());
            // The order matters: a bar with a steady tick is not drawn at once.
            bar.tick();
            bar.enable_steady_tick(TICK);
        }
        Self {
            bar,
            answered: 0,
            total,
            said: Instant::now(),
        }
    }

    /// Counts one more answer.
    pub(super) fn answered(&mut self) {
        self.answered += 1;
        self.bar.inc(1);
        if self.bar.is_hidden() && self.said.elapsed() >= EVERY {
            self.said = Instant::now();
            // Nothing can be reported once stderr is closed.
            let _ = writeln!(io::stderr(), "{}", line(self.answered, self.total));
        }
    }
}

/// Removes the bar, also if the work ends in an error.
impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The style of the bar. `NO_COLOR` turns the colour off.
fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30.cyan} asked for {pos} of {len} images, {elapsed}")
        // Only an invalid template is an error; the default is a bar, too.
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

fn line(answered: usize, total: usize) -> String {
    format!("asked for {answered} of {total} images")
}
