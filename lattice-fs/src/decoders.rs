//! The decoders of text from outside that the faces have, by name, as [`lattice_engine::decoders`] has those of bytes: for
//! whoever feeds them junk. Each takes any bytes, and panics where what was decoded doesn't read back as what it was.

use lattice_engine::decoders::Decoder;

use crate::{http, view};

/// All of them.
pub const ALL: [Decoder; 3] = [
    ("key_text", http::decode_keys),
    ("http_text", http::decode_headers),
    ("ctl", view::control::decode_any),
];
