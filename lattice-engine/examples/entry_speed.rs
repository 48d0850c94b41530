//! How long an entry takes to build, decode, sign and verify. `cargo run --release -p lattice-engine --example entry_speed`

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lattice_engine::entry::{Attrs, Content, Draft, Entry, Kind, Node, Op, Time, Value};
use lattice_engine::hlc::Hlc;
use lattice_engine::id::{EntryId, FileId, StoreId};
use lattice_engine::identity::Identity;
use lattice_engine::key::Key;

type Error = Box<dyn std::error::Error>;

/// `ops` puts of `size` inline bytes, each citing the entry before.
fn draft(author: &Identity, ops: usize, size: usize) -> Result<Draft, Error> {
    let store = StoreId([7; 16]);
    let prev = EntryId([9; 32]);
    let put = |i: usize| -> Result<Op, Error> {
        Ok(Op::Put {
            key: Key::parse(format!("src/some/directory/file-{i}.rs").as_bytes())?,
            node: Node {
                file_id: FileId([i as u8; 16]),
                value: Value::File(Content::Inline(Bytes::from(vec![b'x'; size]))),
                attrs: Attrs {
                    mode: Some(0o644),
                    mtime: Some(Time { s: 1_700_000_000, ns: 1 }),
                    uid: Some(1000),
                    gid: Some(1000),
                    ..Attrs::default()
                },
            },
            new_name: true,
            parents: vec![prev],
        })
    };
    Ok(Draft {
        store,
        author: author.node_id(),
        seq: 2,
        prev,
        hlc: Hlc::new(1_700_000_000_000, 0),
        kind: Kind::Data,
        group_first: 0,
        group_more: false,
        ops: (0..ops).map(put).collect::<Result<_, _>>()?,
        parents: BTreeMap::new(),
    })
}

/// The mean time of `run`, its input made outside of the measured time.
fn mean<T, R>(rounds: usize, input: impl Fn() -> T, run: impl Fn(T) -> R) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..rounds / 100 {
        let batch: Vec<T> = (0..100).map(|_| input()).collect();
        let mut results = Vec::with_capacity(100);
        let start = Instant::now();
        results.extend(batch.into_iter().map(&run));
        total += start.elapsed();
        black_box(results);
    }
    total / (rounds / 100 * 100) as u32
}

fn main() -> Result<(), Error> {
    let author = Identity::from_seed([1; 32]);
    for (ops, size, rounds) in [(1, 0, 100_000), (1, 100, 100_000), (1, 4096, 50_000), (256, 100, 1_000)] {
        let draft = draft(&author, ops, size)?;
        let mut entry = draft.clone().build()?;
        let build = mean(rounds, || draft.clone(), Draft::build);
        let decode = mean(
            rounds,
            || (entry.header_bytes.clone(), entry.payload_bytes.clone()),
            |(header, payload)| Entry::decode(header, payload, None),
        );
        entry.sign(&author)?;
        let sign = mean(2_000, || entry.id, |id| author.sign(&id));
        let verify = mean(2_000, || entry.clone(), |entry| entry.verify());
        println!(
            "{ops:>4} ops of {size:>4} B: header {} B, payload {} B; build {build:.2?}, decode {decode:.2?}, \
             sign {sign:.2?}, verify {verify:.2?}",
            entry.header_bytes.len(),
            entry.payload_bytes.len(),
        );
    }
    Ok(())
}
