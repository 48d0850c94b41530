//! Lattice's faces: what `lattice-engine` holds, shown as a mounted tree, over HTTP and on the command line.
//!
//! Modules import downwards in this order only: `view` < `ops` < `fuse`; `http` < `client` < `command` < `cli`.

pub mod view;
