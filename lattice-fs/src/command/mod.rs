//! One file per subcommand: its arguments and what it does. A command speaks HTTP to the router and prints; it knows
//! nothing of the engine.

pub mod bench;
mod bundle;
pub mod completions;
pub mod conflicts;
pub mod context;
pub mod diff;
pub mod doctor;
pub mod error;
pub mod fsck;
pub mod gc;
pub mod get;
pub mod history;
pub mod init;
pub mod log;
pub mod ls;
pub mod man;
pub mod mount;
pub mod output;
pub mod paths;
mod progress;
pub mod put;
pub mod resolve;
pub mod restore;
pub mod rm;
pub mod shell;
pub mod stats;
pub mod status;
pub mod store;
pub mod target;
mod task;
pub mod unmount;
pub mod version;
pub mod watch;
