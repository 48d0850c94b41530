//! Names of things: stores, nodes, entries, files, chunks. Newtypes, so that one can't be passed for another.

use std::fmt;

use data_encoding::HEXLOWER_PERMISSIVE as HEX;

/// What was given is not a name of the expected form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct ParseIdError {
    text: String,
    expected: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The bytes, as they stand on the wire.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// From bytes of exactly the right length.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// The first eight hex digits: for people, never for look-up.
            pub fn short(&self) -> String {
                HEX.encode(&self.0[..4])
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let hex: String = text.chars().filter(|c| *c != '-').collect();
                HEX.decode(hex.as_bytes())
                    .ok()
                    .and_then(|b| Self::from_slice(&b))
                    .ok_or_else(|| ParseIdError { text: text.into(), expected: $expected })
            }
        }
    };
}

macro_rules! hex_display {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEX.encode(&self.0))
            }
        }
    )*};
}

id!(
    /// A store: a UUID v8 whose bits come from its genesis entry's id, so the name proves what it names.
    StoreId, 16, "a store id (a UUID)"
);
id!(
    /// A member: its ed25519 public key.
    NodeId, 32, "a node id (64 hex digits)"
);
id!(
    /// An entry: `BLAKE3 derive_key("lattice 2026 v1 entry", header)`.
    EntryId, 32, "an entry id (64 hex digits)"
);
id!(
    /// A file's identity: drawn at creation, kept by rename, the source of `st_ino`.
    FileId, 16, "a file id (32 hex digits)"
);
id!(
    /// A chunk: BLAKE3 of its plain bytes.
    ChunkId, 32, "a chunk id (64 hex digits)"
);
hex_display!(NodeId, EntryId, FileId, ChunkId);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let h = HEX.encode(&self.0);
        write!(f, "{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
    }
}

impl StoreId {
    /// The store that a genesis entry names: its first 16 bytes with the version and variant of a UUID v8 (RFC 9562).
    pub fn of_genesis(genesis: &EntryId) -> Self {
        let mut id = [0u8; 16];
        id.copy_from_slice(&genesis.0[..16]);
        id[6] = (id[6] & 0x0f) | 0x80;
        id[8] = (id[8] & 0x3f) | 0x80;
        Self(id)
    }
}

impl EntryId {
    /// `prev_hash` of a genesis: there is nothing before it.
    pub const ZERO: Self = Self([0; 32]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_id_is_a_uuid_v8_and_reads_back() {
        let id = StoreId::of_genesis(&EntryId([0xff; 32]));
        assert_eq!(id.to_string(), "ffffffff-ffff-8fff-bfff-ffffffffffff");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn a_wrong_length_is_refused_by_name() {
        let e = "abcd".parse::<NodeId>().expect_err("too short");
        assert_eq!(e.to_string(), "\"abcd\" is not a node id (64 hex digits)");
    }
}
