//! Lattice's faces: the command line, the HTTP router behind it, and the mount.
//!
//! Modules import downwards in this order only: `view` < `paths mounts` < `http` < `client` `daemon` < `command` < `cli`.

pub mod cli;
pub mod client;
pub mod command;
pub mod daemon;
pub mod fuse;
pub mod helper;
pub mod http;
pub mod logging;
pub mod mounts;
pub mod paths;
pub mod socket;
pub mod view;
