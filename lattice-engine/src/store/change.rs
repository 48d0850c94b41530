//! What a caller wants done, before it is an entry.

use bytes::Bytes;

use crate::entry::{Attrs, Node};
use crate::id::{EntryId, FileId};
use crate::key::Key;

/// Which heads a write supersedes (invariant I3: cite what you read).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cites {
    /// Whatever stands there when it commits: `rm`, `resolve`, a put without a precondition.
    All,
    /// What the writer saw (at `open`, at `If-Match`); heads not named stay, as conflicts.
    Heads(Vec<EntryId>),
}

/// What must hold at commit; else the named error, and nothing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    Anything,
    /// Nothing: the file was opened before, so what became of its name meanwhile doesn't take away what was written. A
    /// directory that others made there, or a file above, stays beside it, as a conflict. For puts.
    Beside,
    /// Nothing live and nothing below: else `Exists`.
    Absent,
    /// Live, or something below: else `NotFound`.
    Exists,
    /// Exists with nothing below, for rmdir: else `NotFound` or `NotEmpty`.
    Childless,
    /// Exactly these heads, in any order: else `Precondition`.
    Heads(Vec<EntryId>),
}

/// The flags of renameat2(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameHow {
    Replace,
    NoReplace,
    Exchange,
}

/// One intended change. A commit is a list of them: all or nothing. A key may be named by one change only, but for an
/// [`Change::Attr`] beside another change. [`Change::CiteAll`] names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Beyond `expect`, unless that is [`Expect::Beside`]: `NotADirectory` when the parent is a live file, `IsADirectory`
    /// when something other than a directory would hide what stands below the key.
    Put {
        key: Key,
        node: Node,
        cites: Cites,
        expect: Expect,
    },
    Delete {
        key: Key,
        cites: Cites,
        expect: Expect,
    },
    /// `key` may be the root, with [`ROOT_FILE`] as its file id.
    Attr {
        key: Key,
        file_id: FileId,
        attrs: Attrs,
    },
    /// rename(2) of a file, or of a directory with all below it; file ids and attributes are kept. `NotFound`, `Exists`
    /// (NoReplace), `NotEmpty`, `IsADirectory`, `NotADirectory`, `IntoItself`, `TooMany`.
    Rename {
        from: Key,
        to: Key,
        how: RenameHow,
    },
    /// What a native program makes of it: for `sys` a put or a delete that cites all heads, or an attr. `Refused` where
    /// there is no such program.
    Instruction {
        program_id: String,
        payload: Bytes,
    },
    /// Changes nothing. The entry that the commit becomes names the tip of every chain that is here: it comes after all
    /// that its author had when it was made (of over a thousand chains, after the latest).
    CiteAll,
}

/// The file id of every store's root directory.
pub const ROOT_FILE: FileId = FileId([0; 16]);

/// What a directory rename moves at most; `mv` copies above it.
pub const MAX_RENAME: usize = 50_000;
