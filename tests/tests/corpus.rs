//! The corpus of the fuzz targets as an ordinary test: what is in `fuzz/corpus`, each also bent and cut a few hundred times, and
//! the same of a few inputs that are made here. `LATTICE_TEST_CORPUS=1` writes those into `fuzz/corpus`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use lattice_engine::access::{Secret, Ticket};
use lattice_engine::decoders::{self, Decoder};
use lattice_engine::entry::{
    Attrs, Content, Draft, Entry, ForkProof, Kind, Node, Op, SignedHeader, Value, genesis_from,
};
use lattice_engine::hlc::Hlc;
use lattice_engine::id::{EntryId, FileId, NodeId, StoreId};
use lattice_engine::identity::Identity;
use lattice_engine::key::Key;
use lattice_engine::sync::{Frame, Mark, Range, TipsDigest};
use lattice_engine::wire::v1;
use lattice_tests::random::{Random, seed};
use prost::Message;

/// Those of bytes and those of text.
fn all() -> impl Iterator<Item = Decoder> {
    decoders::ALL.into_iter().chain(lattice_fs::decoders::ALL)
}

/// Bent and cut so often, each.
fn times() -> u64 {
    std::env::var("LATTICE_TEST_BENT").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name)
}

fn entry(seq: u64, tag: u8) -> Entry {
    let identity = Identity::from_seed([1; 32]);
    let value = Value::File(Content::Inline(Bytes::from(vec![tag; 30])));
    let node =
        Node { file_id: FileId([tag; 16]), value, attrs: Attrs { mode: Some(0o644), ..Attrs::default() } };
    let key = Key::parse(b"a/b").expect("a key");
    let draft = Draft {
        store: StoreId([5; 16]),
        author: identity.node_id(),
        seq,
        prev: EntryId([3; 32]),
        hlc: Hlc::new(1_795_300_000_000 + seq, 0),
        kind: Kind::Data,
        group_first: 0,
        group_more: false,
        ops: vec![
            Op::Put { key: key.clone(), node, new_name: true, parents: Vec::new() },
            Op::Delete { key: Key::parse(b"c").expect("a key"), parents: Vec::new() },
        ],
        parents: BTreeMap::new(),
    };
    let mut entry = draft.build().expect("an entry");
    entry.sign(&identity).expect("its author");
    entry
}

fn signed(entry: &Entry) -> v1::SignedEntry {
    let signature = Bytes::copy_from_slice(&entry.signature.expect("signed"));
    let (header, payload) = (entry.header_bytes.clone(), entry.payload_bytes.clone());
    v1::SignedEntry { header, signature, payload }
}

/// With its length before it, as `decoders` takes things apart.
fn part(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).expect("a short one");
    [&len.to_le_bytes(), bytes].concat()
}

fn frames() -> Vec<Vec<u8>> {
    let (author, mark) = (NodeId([2; 32]), Mark { seq: 7, id: EntryId([9; 32]) });
    let (store, genesis) = (StoreId([5; 16]), EntryId([6; 32]));
    let [one, two] = [entry(7, 1), entry(7, 2)].map(|entry| SignedHeader {
        header: entry.header_bytes.clone(),
        signature: entry.signature.expect("signed"),
    });
    let proof = ForkProof::new(one, two).expect("a proof");
    [
        Frame::Hello { store, genesis, digest: TipsDigest([1; 32]), check: false },
        Frame::Tips { marks: vec![(author, mark)], more: false },
        Frame::Want(vec![Range { author, from: 1, to: 7 }]),
        Frame::Entries { entries: vec![signed(&entry(7, 1)), signed(&entry(8, 1))], last: true },
        Frame::Have { marks: vec![(author, mark)], taken: 1, whole: true },
        Frame::Done,
        Frame::Fetch(vec![(author, mark)]),
        Frame::FetchChain { author, of: mark, from: 2 },
        Frame::Fork(proof.into()),
    ]
    .iter()
    .map(|frame| {
        let bytes = frame.encode();
        let prefix = bytes.len() - prost::decode_length_delimiter(&bytes[..]).expect("a length");
        bytes[prefix..].to_vec()
    })
    .collect()
}

/// Good inputs of a decoder: what is bent from them gets further than what is made up.
fn made(name: &str) -> Vec<Vec<u8>> {
    let one = entry(7, 1);
    match name {
        "entry" => vec![[part(&one.header_bytes), one.payload_bytes.to_vec()].concat()],
        "fork" => frames()
            .last()
            .map(|frame| frame[frame.len() - proof_len(frame)..].to_vec())
            .into_iter()
            .collect(),
        "sync_frame" => frames(),
        "session" => {
            let talk = frames().iter().flat_map(|frame| [vec![5], part(frame), vec![1]].concat()).collect();
            vec![talk, vec![3, 2, 4, 0, 1, 2]]
        }
        "net_frame" => {
            let signed = signed(&one).encode_to_vec();
            let open = v1::StoreOpen { store: vec![5; 16].into(), genesis: vec![6; 32].into() };
            let open = v1::StreamOpen { kind: Some(v1::stream_open::Kind::Store(open)) };
            vec![signed, open.encode_to_vec(), b"127.0.0.1:4000".to_vec()]
        }
        "ticket" => {
            let ticket = Ticket {
                genesis: EntryId([6; 32]),
                secret: Secret::new([7; 32]),
                expires_ms: 1_795_300_000_000,
                inviter: NodeId([2; 32]),
                addresses: vec![Bytes::from_static(b"10.0.0.1:4000")],
            };
            vec![ticket.to_text().into_bytes(), b"expires 1795300000000 uses 1".to_vec()]
        }
        "record" => {
            vec![[&[2][..], &[1; 32], &[3; 72]].concat(), [&[1, 4, 0, 0, 0, 0][..], &[8; 20]].concat()]
        }
        "row" => vec![vec![0, 0, 0, 0], [&[0, 1][..], &[9; 60]].concat()],
        "manifest" => {
            let chunk = v1::Chunk { hash: vec![4; 32].into(), len: 1 << 16 };
            vec![v1::Manifest { chunks: vec![chunk; 16], ..v1::Manifest::default() }.encode_to_vec()]
        }
        "bundle" => {
            let founder = Identity::from_seed([1; 32]);
            let genesis = genesis_from(&founder, Hlc::new(1, 0), [2; 32], Vec::new()).expect("a genesis");
            let store = StoreId::of_genesis(&genesis.id);
            let header = v1::BundleHeader {
                version: 1,
                store_id: store.as_bytes().to_vec().into(),
                genesis: genesis.id.as_bytes().to_vec().into(),
                name: "made".into(),
            };
            let frame = v1::BundleFrame { frame: Some(v1::bundle_frame::Frame::Entry(signed(&genesis))) };
            let parts = [header.encode_length_delimited_to_vec(), frame.encode_length_delimited_to_vec()];
            vec![[b"lattice bundle 1".to_vec(), parts.concat()].concat()]
        }
        "key" => vec![b"a/b/c".to_vec(), b"../x".to_vec(), StoreId([5; 16]).to_string().into_bytes()],
        "key_text" => vec![
            b"a b/\xff\xe2\x82\xac".to_vec(),
            b"/v1/stores/home/keys/a%2fb/%ff?prefix=%26+a".to_vec(),
            br#"{"key":"a\ufffd","key_base64":"Yf8="}"#.to_vec(),
        ],
        "http_text" => vec![
            b"bytes=4-".to_vec(),
            b"\"01ff\", W/\"02\", *".to_vec(),
            b"Basic aWQ6c2VjcmV0".to_vec(),
            b"https://localhost:8080".to_vec(),
            b"[::1]:8080".to_vec(),
            br#"{"ops":[{"op":"put","key":"a","value":"b","if_match":"*"}]}"#.to_vec(),
        ],
        "ctl" => {
            vec![b"# text\nresolve a b\\xff\\u{20ac} 01ff\nsync\ngc 30d\n".to_vec(), b"a\\\\b\\x00".to_vec()]
        }
        other => panic!("no input is made for {other}"),
    }
}

/// Bytes of the message in a frame that holds nothing else.
fn proof_len(frame: &[u8]) -> usize {
    prost::decode_length_delimiter(&frame[1..]).expect("a length")
}

fn bend(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.index(bytes.len() + 1);
        match random.below(4) {
            0 if at < bytes.len() => bytes[at] = random.bits() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => bytes.truncate(at),
            _ => bytes.insert(at, random.bits() as u8),
        }
    }
    bytes
}

#[test]
fn no_decoder_panics_on_the_corpus_or_on_what_is_bent_from_it() {
    let seed = seed(1);
    println!("LATTICE_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    for (name, decode) in all() {
        let mut inputs = made(name);
        if std::env::var_os("LATTICE_TEST_CORPUS").is_some() {
            fs::create_dir_all(corpus(name)).expect("a directory");
            for (n, input) in inputs.iter().enumerate() {
                fs::write(corpus(name).join(format!("made-{n}")), input).expect("a file");
            }
        }
        let kept = fs::read_dir(corpus(name)).unwrap_or_else(|e| panic!("the corpus of {name}: {e}"));
        inputs.extend(kept.map(|file| fs::read(file.expect("an entry").path()).expect("a file")));
        assert!(inputs.len() > 1, "{name}");
        for input in inputs {
            decode(&input);
            (0..times()).for_each(|_| decode(&bend(&input, &mut random)));
        }
    }
}

#[test]
fn every_decoder_has_a_target() {
    let toml =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/Cargo.toml")).expect("fuzz");
    for (name, _) in all() {
        assert!(toml.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}
