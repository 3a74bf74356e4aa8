//! Processes and directories that do not outlive this program.
//!
//! ```text
//! Process, StateDirectory -> live (the list of what is there) <- signals (Ctrl-C)
//! ```

mod child;
pub(crate) mod live;
mod signals;
pub(crate) mod state;

pub use child::Process;
pub use live::end_everything;
pub use signals::Shutdown;
