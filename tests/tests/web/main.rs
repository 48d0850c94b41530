//! The web page in Debian's Chromium, as a person uses it: with mouse and keyboard, on a wide screen and on a phone's, against
//! two real daemons. Needs root, /dev/fuse and chromium; skips with a reason elsewhere.

mod accessible;
mod conflict;
mod files;
mod foreign;
mod hostile;
mod keyboard;
mod live;
mod manage;
mod pure;
mod relay;
mod revoked;
mod site;

use lattice_tests::browser::PROGRAM;
use lattice_tests::fixture::needs;

/// May a test use a browser here?
fn browsers() -> bool {
    needs(&[PROGRAM])
}
