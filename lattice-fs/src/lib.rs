//! Lattice's faces: what `lattice-engine` holds, shown as a mounted tree, over HTTP and on the command line.
//!
//! Modules import downwards in this order only: `view` < `ops` < `fuse` < `paths patience socket mounts` < `http` <
//! `client daemon` < `command` < `cli`. `decoders` names what of it reads text from outside.

pub mod cli;
pub mod client;
pub mod command;
pub mod config;
pub mod daemon;
pub mod decoders;
pub mod fuse;
pub mod helper;
pub mod http;
pub mod logging;
pub mod mounts;
pub mod ops;
pub mod paths;
pub mod patience;
pub mod socket;
pub mod view;
