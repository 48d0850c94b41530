//! Keys as text. In a URL a key is percent-encoded bytes, so any name makes the round trip. In JSON it is a string,
//! with the exact bytes beside it as base64 where they are not UTF-8.

use data_encoding::BASE64;
use lattice_engine::key::Key;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use serde::{Deserialize, Serialize};

/// RFC 3986's unreserved characters, and the `/` between segments.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A path's bytes as they stand in a URL.
pub fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, KEY).to_string()
}

/// The bytes that a URL's text stands for.
pub fn decode(text: &str) -> Vec<u8> {
    percent_decode(text.as_bytes()).collect()
}

/// A name in a JSON document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyText {
    /// The key; where it is not UTF-8, with U+FFFD for what isn't.
    pub key: String,
    /// The exact bytes, only where they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
}

impl KeyText {
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self { key: text.into(), key_base64: None },
            Err(_) => Self {
                key: String::from_utf8_lossy(bytes).into_owned(),
                key_base64: Some(BASE64.encode(bytes)),
            },
        }
    }

    /// The exact bytes; `None` where the base64 is not base64.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match &self.key_base64 {
            Some(text) => BASE64.decode(text.as_bytes()).ok(),
            None => Some(self.key.clone().into_bytes()),
        }
    }
}

impl From<&Key> for KeyText {
    fn from(key: &Key) -> Self {
        Self::of(key.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_make_the_round_trip(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), bytes.clone());
            prop_assert!(encode(&bytes).bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#'));
            let json = serde_json::to_string(&KeyText::of(&bytes)).expect("serialises");
            let back: KeyText = serde_json::from_str(&json).expect("reads back");
            prop_assert_eq!(back.bytes(), Some(bytes));
        }
    }
}
