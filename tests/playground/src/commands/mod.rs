//! The commands of the playground: bringing everything up, and the subcommands. Each is built from the library.

pub(crate) mod bench;
pub(crate) mod chaos;
mod interrupt;
pub(crate) mod intrude;
mod output;
pub(crate) mod up;
