//! A bundle's bytes: the magic line, the header, and length-delimited frames after it.
//!
//! It refuses a frame over the limit before it is read, and tells a bundle that was cut off from one that was damaged.

use std::io::{Read, Write};

use bytes::Bytes;
use prost::Message;

use crate::entry::{Decoded, Entry};
use crate::id::{EntryId, StoreId};
use crate::wire::v1;

use super::super::error::{Result, StoreError};

/// The first bytes of a bundle.
pub(super) const MAGIC: &[u8; 16] = b"lattice bundle 1";
/// A frame is at most a manifest chunk and its framing.
const MAX_FRAME: usize = 64 << 20;

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleHeader {
    pub store: StoreId,
    pub genesis: EntryId,
    pub name: String,
}

/// Reads a bundle's beginning; frames follow.
pub fn read_header(input: &mut dyn Read) -> Result<BundleHeader> {
    let not_one =
        || StoreError::Refused("this is not a Lattice bundle: `lattice store export` makes one".into());
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic).map_err(|_| not_one())?;
    if magic != *MAGIC {
        return Err(not_one());
    }
    let mut input = FrameReader { input, bytes: 0 };
    let header = v1::BundleHeader::decode(input.delimited()?).map_err(|_| not_one())?;
    if header.version != 1 {
        return Err(StoreError::Refused(format!(
            "this bundle has version {}, and this lattice reads version 1: use a newer one",
            header.version
        )));
    }
    let genesis = EntryId::from_slice(&header.genesis).ok_or_else(not_one)?;
    let store = StoreId::from_slice(&header.store_id).ok_or_else(not_one)?;
    if StoreId::of_genesis(&genesis) != store {
        return Err(StoreError::Refused(format!(
            "this bundle names store {store}, but its genesis is of another store: it was damaged or forged"
        )));
    }
    Ok(BundleHeader { store, genesis, name: header.name })
}

/// Reads a bundle's first entry, its store's genesis.
pub fn read_genesis(header: &BundleHeader, input: &mut dyn Read) -> Result<Entry> {
    let mut input = FrameReader { input, bytes: 0 };
    let decoded = match input.frame()? {
        v1::bundle_frame::Frame::Entry(signed) => decode(signed, 0)?,
        _ => return Err(StoreError::Refused("this bundle doesn't begin with a genesis".into())),
    };
    let entry = decoded.entry().clone();
    if entry.id != header.genesis {
        return Err(StoreError::Refused("this bundle's first entry is not its store's genesis".into()));
    }
    Ok(entry)
}

/// An entry whose signature is its author's. `index` counts from the genesis, 0.
pub(super) fn decode(signed: v1::SignedEntry, index: u64) -> Result<Decoded> {
    let bad = |why: String| {
        StoreError::Refused(format!(
            "entry {} of the bundle is damaged or forged ({why}). Nothing was changed; get the bundle again",
            index + 1
        ))
    };
    let signature: [u8; 64] =
        signed.signature[..].try_into().map_err(|_| bad("its signature is not 64 bytes".into()))?;
    let decoded =
        Entry::decode(signed.header, signed.payload, Some(signature)).map_err(|e| bad(e.to_string()))?;
    decoded.entry().verify().map_err(|e| bad(e.to_string()))?;
    Ok(decoded)
}

pub(super) struct FrameWriter<'a> {
    pub out: &'a mut dyn Write,
    pub bytes: u64,
}

impl FrameWriter<'_> {
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(StoreError::io("cannot write the bundle"))
    }

    pub fn message(&mut self, message: &impl Message) -> Result<()> {
        self.raw(&message.encode_length_delimited_to_vec())
    }

    pub fn frame(&mut self, frame: v1::bundle_frame::Frame) -> Result<()> {
        self.message(&v1::BundleFrame { frame: Some(frame) })
    }
}

pub(super) struct FrameReader<'a> {
    pub input: &'a mut dyn Read,
    /// Read so far.
    pub bytes: u64,
}

pub(super) fn cut_off(at: u64) -> StoreError {
    StoreError::Refused(format!(
        "the bundle ends too early, after {at} bytes: it was cut off. Nothing was changed; get it again"
    ))
}

impl FrameReader<'_> {
    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte).map_err(|_| cut_off(self.bytes))?;
        self.bytes += 1;
        Ok(byte[0])
    }

    pub fn delimited(&mut self) -> Result<Bytes> {
        let mut len = 0usize;
        for shift in (0..28).step_by(7) {
            let byte = self.byte()?;
            len |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if len > MAX_FRAME {
            return Err(StoreError::Refused(format!(
                "a frame of {len} bytes in the bundle is over the limit of {MAX_FRAME}: it is damaged. Nothing was changed; \
                 get it again"
            )));
        }
        // Grows as bytes come: a lie about the length costs its teller more than us.
        let mut frame = Vec::new();
        let read = self.input.take(len as u64).read_to_end(&mut frame);
        self.bytes += frame.len() as u64;
        match read {
            Ok(n) if n == len => Ok(frame.into()),
            _ => Err(cut_off(self.bytes)),
        }
    }

    pub fn frame(&mut self) -> Result<v1::bundle_frame::Frame> {
        let at = self.bytes;
        let frame = v1::BundleFrame::decode(self.delimited()?).ok().and_then(|f| f.frame);
        frame.ok_or_else(|| {
            StoreError::Refused(format!(
                "the bundle is damaged at byte {at} or so. Nothing was changed; get it again"
            ))
        })
    }
}
