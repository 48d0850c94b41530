//! What a store looks like from outside: the file a record stands for, its conflicts and where it came from, and the
//! `.lattice` control directory. Pure synchronous functions over [`lattice_engine::store::Handle`]: every face uses
//! them, and none of them knows of FUSE, HTTP or terminals.

pub mod control;
pub mod effective;
pub mod resolve;
pub mod revoked;
pub mod twins;
pub mod xattrs;

pub use control::Control;
pub use effective::{Defaults, Kind, Shown, shown};
