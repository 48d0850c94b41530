//! What a store shows, on real stores: two nodes in temporary directories that meet by exchanging bundles.

mod control;
mod races;
mod resolve;
mod two;
mod xattrs;
