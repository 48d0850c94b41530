//! One store: its log, the state derived from it, its content, and everything that is done to them.
//!
//! [`Handle`] is what every face calls. Behind it stands plain synchronous code:
//!
//! - a commit ([`commit`]) is planned against the current records ([`plan`]), becomes one signed entry (several, as a
//!   group, when it is large), is appended to the log, and is applied to the in-memory overlay ([`apply`]): visible and
//!   safe from a kill when it returns. Callers that wait together share an entry: whoever holds the writer's lock
//!   commits for all that queue behind it, so no operation waits for another thread to wake up.
//! - a background thread ([`background`]) signs what was appended, moves the overlay into redb, and makes that durable
//!   now and then. Signing is deferred because it costs more than all the rest (16 µs of 24) and ed25519 is
//!   deterministic: the signature is a function of the key and the entry's id. Nothing is durable, exported or sent
//!   unsigned.
//! - reads ([`view`]) look into the overlay and then into redb, and never wait for the writer.
//! - entries from elsewhere come in by [`receive`], from a peer or in a file ([`bundle`]); [`exchange`] is what goes out.
//! - what of its content is fetched unasked, this node decides for itself ([`policy`]); who reads what isn't here waits
//!   for it ([`bring`]).
//!
//! It refuses writes on a data directory that can't be written ([`read_only`]), after a failed append or sync, on a damaged log, and while the projection is stalled by an entry
//! that a newer program wrote.

mod apply;
mod background;
mod branches;
mod bring;
mod bundle;
mod change;
mod commit;
mod core;
mod error;
mod event;
mod exchange;
mod forks;
mod fsck;
mod gc;
mod govern;
mod groups;
mod handle;
mod history;
mod hold;
mod intent;
mod late;
mod lost;
mod network;
mod open;
mod plan;
mod policy;
mod read_only;
mod reader;
mod receive;
mod refilter;
mod signatures;
mod status;
mod sync;
mod unsynced;
mod view;
mod watch;
mod work;
mod writer;

pub use bundle::{
    BundleHeader, BundleReport, check as check_bundle, read_genesis as read_bundle_genesis,
    read_header as read_bundle_header,
};
pub use change::{Change, Cites, Expect, ROOT_FILE, RenameHow};
pub use error::{Result, StoreError};
pub use event::{Change as LiveChange, Cursor, Event, ParseCursorError};
pub use fsck::FsckReport;
pub(crate) use fsck::check_closed;
pub use gc::{GcReport, KeepHistory};
pub use govern::Authority;
pub use handle::Handle;
pub use history::Version;
pub use hold::Held as HeldWrites;
pub use intent::Intent;
pub use network::{Held, Network, NotFetched, Peer};
pub use open::{OpenOptions, adopt, create, open};
pub use policy::{Fetch, Here, Policy};
pub use read_only::{READ_ONLY, open_read_only};
pub use reader::Reader;
pub use status::StoreStatus;
pub use watch::{Live, Watch};
