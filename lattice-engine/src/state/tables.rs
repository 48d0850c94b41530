//! Every table of the state file. All of it can be rebuilt from the log and the packs.

use redb::TableDefinition;

/// Bumped whenever a row's meaning changes. An older file is rebuilt; a newer one is refused.
pub const STATE_VERSION: u64 = 3;

/// `parent ‖ 0x00 ‖ name` -> a record (`codec`). Raw key order would interleave `a/b`, `a/b.txt` and `a/b/c`;
/// in this one a directory's children are one range, so `readdir` is a scan. The root's own row has the empty key.
pub const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// (row key, file id) -> a record with that file's registers alone: of files that no head of the key is a version of
/// any more. Apart, so that the record of a name that is replaced all day stays small.
pub const DORMANT: TableDefinition<'_, (&[u8], &[u8; 16]), &[u8]> = TableDefinition::new("dormant");

/// The row keys whose live heads differ: `lattice conflicts` without a scan.
pub const CONFLICTS: TableDefinition<'_, &[u8], ()> = TableDefinition::new("conflicts");

/// (author index, seq) -> (segment, offset, length, entry id): where an entry stands in the log. A branch of a forked
/// chain has an index of its own in the place of its author's. Looked up by chain
/// position because a random entry-hash index would cost ingest more than half of its speed (measured: 490,000
/// entries/s against 166,000).
pub const ENTRIES: TableDefinition<'_, (u32, u64), EntryRow<'_>> = TableDefinition::new("entries");

/// Segment, offset, length, entry id.
type EntryRow<'a> = (u64, u64, u32, &'a [u8; 32]);

/// Author index -> node id. Rows name authors by this local index.
pub const AUTHORS: TableDefinition<'_, u32, &[u8; 32]> = TableDefinition::new("authors");

/// Author index -> (seq, hlc, entry id) of the last entry of its chain.
pub const TIPS: TableDefinition<'_, u32, (u64, u64, &[u8; 32])> = TableDefinition::new("tips");

/// A branch of a forked chain, by its name -> (author, first seq, the chain that it leaves).
pub const BRANCHES: TableDefinition<'_, &[u8; 32], BranchRow<'_>> = TableDefinition::new("branches");

/// Author, first seq, the chain that it leaves.
type BranchRow<'a> = (&'a [u8; 32], u64, &'a [u8; 32]);

/// Chunk id -> (pack, offset, stored length, plain length, flags).
pub const CHUNKS: TableDefinition<'_, &[u8; 32], ChunkRow> = TableDefinition::new("chunks");

pub type ChunkRow = (u64, u64, u32, u32, u8);

/// Pack -> how far its records are in `CHUNKS`.
pub const PACKS: TableDefinition<'_, u64, u64> = TableDefinition::new("packs");

/// Outstanding intents: id -> `IntentRow` (state.proto).
pub const INTENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("intents");

/// Counters and marks by name; see the constants below.
pub const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

pub const META_VERSION: &str = "version";
/// The last record of the log that is applied.
pub const META_SEGMENT: &str = "applied.segment";
pub const META_OFFSET: &str = "applied.offset";
pub const META_LEN: &str = "applied.len";
/// Keys with a live version.
pub const META_LIVE: &str = "live";
/// Entries applied.
pub const META_ENTRIES: &str = "entries";
/// With an author's node id behind it: the last entry of its chain that is projected, where that isn't all of it.
pub const META_CUT: &str = "cut.";
/// Likewise: the last entry beyond that which a projected one builds on.
pub const META_NEEDED: &str = "needed.";
