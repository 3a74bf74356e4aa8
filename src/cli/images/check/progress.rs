use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line is written where none can be rewritten in place. A check that is done sooner
/// says nothing but its result.
const EVERY: Duration = Duration::from_secs(20);

/// How often the bar is drawn while nothing happens: a registry that hangs should not look as if
/// this program did.
const TICK: Duration = Duration::from_millis(250);

/// How far a check is, on stderr: a bar on a terminal, a plain line now and then elsewhere.
pub(super) struct Progress {
    bar: ProgressBar,
    answered: usize,
    total: usize,
    /// When a plain line was written last, or the beginning.
    said: Instant,
}

impl Progress {
    /// Nothing of `total` has been answered.
    pub(super) fn new(total: usize) -> Self {
        // Draws nothing unless stderr is a terminal that can move its cursor.
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(u64::try_from(total).ok(), target);
        if !bar.is_hidden() {
            bar.set_style(style());
            // In this order: a bar that ticks by itself is not drawn at once.
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

    /// One more has been answered.
    pub(super) fn answered(&mut self) {
        self.answered += 1;
        self.bar.inc(1);
        if self.bar.is_hidden() && self.said.elapsed() >= EVERY {
            self.said = Instant::now();
            // Where stderr is gone there is nobody left to tell.
            let _ = writeln!(io::stderr(), "{}", line(self.answered, self.total));
        }
    }
}

/// Leaves nothing of the bar, also when the work ends in an error.
impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The colour goes with `NO_COLOR`.
fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30.cyan} asked for {pos} of {len} images, {elapsed}")
        // Only a template that cannot be read is an error, and the default is a bar, too.
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

fn line(answered: usize, total: usize) -> String {
    format!("asked for {answered} of {total} images")
}
