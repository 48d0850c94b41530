//! What the nodes write: few keys, so that they meet.

use lattice_engine::entry::{Attrs, Content, Node, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;
use lattice_engine::store::{Change, Cites, Expect, Handle, RenameHow};

use crate::random::Random;

const KEYS: [&str; 8] = ["a", "a/b", "a/b/c", "a/d", "e", "f", "g/h", "g/i"];

pub fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect("a key")
}

fn file_id(random: &mut Random) -> FileId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&random.bits().to_le_bytes());
    FileId(id)
}

/// One random commit. False: there was nothing to do, or it was refused as it should be.
pub fn commit(store: &Handle, random: &mut Random) -> bool {
    let changes = (0..1 + random.below(3)).map(|_| change(store, random)).collect::<Vec<_>>();
    store.commit(changes).is_ok()
}

fn change(store: &Handle, random: &mut Random) -> Change {
    let path = key(random.pick::<&str>(&KEYS));
    let record = store.get(&path).ok().flatten().unwrap_or_default();
    let shown = record.shown().map(|h| h.entry.id);
    // What its writer saw: what is shown, or everything.
    let cites = if random.one_in(3) { Cites::All } else { Cites::Heads(shown.into_iter().collect()) };
    match random.below(10) {
        0 | 1 => Change::Delete { key: path, cites, expect: Expect::Anything },
        2 => {
            let to = key(random.pick::<&str>(&KEYS));
            Change::Rename { from: path, to, how: RenameHow::Replace }
        }
        3 => {
            let file = record.shown().and_then(|h| h.node.as_ref()).map(|n| n.file_id);
            let attrs = Attrs { mode: Some(random.below(0o1000) as u32), ..Attrs::default() };
            Change::Attr { key: path, file_id: file.unwrap_or_else(|| file_id(random)), attrs }
        }
        _ => {
            // Some are content of their own.
            let large = random.one_in(8);
            let len = random.below(if large { 100_000 } else { 200 }) as usize;
            let bytes = random.bytes(len);
            let file_id = match record.shown().and_then(|h| h.node.as_ref()) {
                Some(node) if !random.one_in(4) => node.file_id,
                _ => file_id(random),
            };
            let content = store.put_content(&bytes).unwrap_or(Content::EMPTY);
            let node = Node { file_id, value: Value::File(content), attrs: Attrs::default() };
            Change::Put { key: path, node, cites, expect: Expect::Anything }
        }
    }
}
