//! Ctrl-C: the first asks for an orderly end, the second ends everything at once.

use std::{io, thread};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::process::live;

/// Tells when somebody asked this program to end, by SIGINT, SIGTERM or SIGHUP.
#[derive(Clone, Debug)]
pub struct Shutdown {
    asked: watch::Receiver<bool>,
}

impl Shutdown {
    /// Listens from now on. Call it once, before anything is started.
    ///
    /// The first signal ends [`Shutdown::asked`] and nothing else: what is under way is to be dropped or stopped by
    /// its owner. The second kills all that was started, deletes all state and ends this program with status 130.
    ///
    /// # Errors
    ///
    /// The system refuses a handler or a thread.
    pub fn listen() -> io::Result<Self> {
        let (sender, asked) = watch::channel(false);
        // On a thread and a runtime of its own: a second Ctrl-C is pressed when the rest of the program hangs.
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut signals = {
            let _context = runtime.enter();
            Signals {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hangup: signal(SignalKind::hangup())?,
            }
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    signals.next().await;
                    sender.send_replace(true);
                    signals.next().await;
                    live::end_everything_and_exit()
                })
            })?;
        Ok(Self { asked })
    }

    /// Waits for the first signal; at once if it has come already.
    pub async fn asked(&self) {
        // The sender lives as long as its thread, and that as long as the program.
        let _ = self
            .asked
            .clone()
            .wait_for(|asked| *asked)
            .await;
    }

    /// Whether the first signal has come.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
