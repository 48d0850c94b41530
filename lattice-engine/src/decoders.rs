//! Every decoder of bytes that this process didn't make, by name: for whoever feeds them junk (`fuzz/`, and a test that runs
//! its corpus). Each takes any bytes, and panics where what was decoded isn't what it must be: it encodes to the same bytes,
//! where there is one encoding, and no session answers a peer that it has left.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::access::{InviteRecord, Proof, Ticket};
use crate::content::manifest_ids;
use crate::entry::{Entry, ForkProof};
use crate::id::{ChunkId, EntryId, NodeId, StoreId};
use crate::key::Key;
use crate::sync::{Announced, Config, Frame, Input, Mark, Mesh, Output, Received, Session, Tips, gossip};
use crate::wire::v1;
use crate::{log, net, state, store};

/// A decoder, and what it is called in `fuzz/`.
pub type Decoder = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Decoder; 11] = [
    ("entry", entry),
    ("fork", fork),
    ("bundle", bundle),
    ("sync_frame", sync_frame),
    ("net_frame", net_frame),
    ("ticket", ticket),
    ("record", record),
    ("row", row),
    ("manifest", manifest),
    ("key", key),
    ("session", session),
];

/// The bytes after a length of two, and what is behind them: how the parts of one thing stand in one input.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((len, rest)) = bytes.split_first_chunk::<2>() else { return (bytes, &[]) };
    rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()))
}

/// A header with a length before it, and a payload.
fn entry(bytes: &[u8]) {
    let (header, payload) = split(bytes);
    let (header, payload) = (Bytes::copy_from_slice(header), Bytes::copy_from_slice(payload));
    if let Ok(decoded) = Entry::decode(header.clone(), payload, Some([7; 64])) {
        let entry = decoded.entry();
        assert_eq!(entry.id, crate::entry::entry_id(&header));
        assert!(entry.verify().is_err(), "that signature is nobody's");
    }
}

fn fork(bytes: &[u8]) {
    let Ok(wire) = v1::ForkProof::decode(bytes) else { return };
    if let Ok(proof) = ForkProof::try_from(wire) {
        let again = ForkProof::try_from(v1::ForkProof::from(&proof));
        assert_eq!(again.as_ref(), Ok(&proof));
        // Whether it is signed is the same question twice.
        assert_eq!(proof.verify(), proof.verify());
    }
}

/// A whole bundle, as `store import` checks it.
fn bundle(bytes: &[u8]) {
    let memory = rustix::fs::memfd_create("bundle", rustix::fs::MemfdFlags::CLOEXEC);
    let Ok(file) = memory.map(File::from) else { return };
    if file.write_all_at(bytes, 0).is_ok() {
        let _ = store::check_bundle(&file, None, 1_795_300_000_000, &mut |_, _| {});
    }
}

fn sync_frame(bytes: &[u8]) {
    let _ = Announced::read(bytes);
    let _ = gossip::Hint::decode(Bytes::copy_from_slice(bytes));
    let Ok(frame) = Frame::decode(Bytes::copy_from_slice(bytes)) else { return };
    let again = frame.encode();
    let Ok(Some(announced)) = Announced::read(&again) else {
        panic!("{frame:?} is not what it is announced as")
    };
    assert_eq!(Frame::decode(again.slice(announced.prefix..)).as_ref(), Ok(&frame));
}

fn net_frame(bytes: &[u8]) {
    net::decode_any(bytes);
}

fn ticket(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(ticket) = Ticket::parse(&text) {
        assert_eq!(Ticket::parse(&ticket.to_text()).map(|t| t.to_text()), Ok(ticket.to_text()));
    }
    let _ = InviteRecord::from_value(bytes, NodeId([1; 32]));
    let _ = Proof::from_slice(bytes);
}

/// A kind, and the body of a log's record.
fn record(bytes: &[u8]) {
    if let Some((kind, body)) = bytes.split_first() {
        log::decode_any(*kind, Bytes::copy_from_slice(body));
    }
}

fn row(bytes: &[u8]) {
    state::decode_any(bytes);
}

/// A manifest each of whose parts is the same bytes.
fn manifest(bytes: &[u8]) {
    let (first, rest) = split(bytes);
    let mut parts = [first, rest].into_iter().cycle().map(Bytes::copy_from_slice);
    let mut asked = 0;
    let _ = manifest_ids(ChunkId([1; 32]), 1 << 20, &mut |_| {
        asked += 1;
        Ok(parts.next().filter(|_| asked < 64))
    });
}

fn key(bytes: &[u8]) {
    if let Ok(key) = Key::parse(bytes) {
        assert_eq!(Key::from_wire(key.to_bytes()).as_ref(), Ok(&key));
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok(id) = text.parse::<StoreId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    let _ = (text.parse::<NodeId>(), text.parse::<EntryId>(), text.parse::<store::Cursor>());
}

/// What a peer and this node's own store could say to a session, a byte each before it, in any order.
fn session(bytes: &[u8]) {
    let (me, peer) = (NodeId([1; 32]), NodeId([2; 32]));
    let config = Config { store: StoreId([5; 16]), genesis: EntryId([6; 32]), node: me, peer };
    let mut tips = BTreeMap::from([(me, Mark { seq: 5, id: EntryId([7; 32]) })]);
    let shared = |tips: &BTreeMap<NodeId, Mark>| Arc::new(Tips::new(tips.clone()));
    let mut session = Session::new(config, shared(&tips));
    let mut mesh = Mesh::default();
    let (mut now, mut closed, mut pending) = (1, false, Vec::new());
    let mut inputs = vec![Input::Opened];
    let mut rest = bytes;
    loop {
        for input in inputs.drain(..) {
            for output in session.handle(input, now, &mut mesh) {
                assert!(!closed, "it goes on after its end: {output:?}");
                match output {
                    Output::Close(_) => closed = true,
                    Output::Range { request, .. }
                    | Output::Fetch { request, .. }
                    | Output::Chain { request, .. } => {
                        pending.push(Input::Ranged { request, entries: Vec::new() });
                    }
                    Output::Receive { batch, entries } => {
                        let results = entries.iter().map(|_| Received::New).collect();
                        pending.push(Input::Received { batch, results, durable: shared(&tips) });
                    }
                    Output::Send(_) => pending.push(Input::Writable),
                    Output::SetTimer(at) => assert!(at >= now),
                    Output::CaughtUp | Output::Forked(_) => {}
                }
            }
        }
        let Some((what, more)) = rest.split_first() else { return };
        rest = more;
        inputs = match what % 8 {
            0 => std::mem::take(&mut pending),
            1 => pending.pop().into_iter().collect(),
            2 => {
                now += u64::from(*what) * 500;
                vec![Input::Timer]
            }
            3 => vec![Input::Check],
            4 => {
                tips.entry(NodeId([*what; 32])).or_insert(Mark { seq: 0, id: EntryId([8; 32]) }).seq += 1;
                vec![Input::Published(shared(&tips))]
            }
            _ => {
                let (frame, more) = split(rest);
                rest = more;
                vec![peers(frame)]
            }
        };
    }
}

fn peers(frame: &[u8]) -> Input {
    match Frame::decode(Bytes::copy_from_slice(frame)) {
        Ok(frame) => Input::Frame(frame),
        Err(e) => Input::BadFrame(e),
    }
}
