//! What answers hold, for `/openapi.json`: a line for each document, as short as it can be said. Fields are only ever added, so
//! nothing here says that there are no others; a test of the listener holds what is answered against these lines.

use serde_json::{Map, Value, json};

/// Names, and their fields: `name:type`, where the type is left out for text and `?` stands behind a name that may be absent.
/// `+Name` stands for the fields of another one. Types: `int`, `number`, `bool`, `[Type]`, or a name here.
const ANSWERS: &[(&str, &str)] = &[
    ("Health", "status"),
    (
        "Status",
        "node name? version root_store data_dir daemon_pid?:int mounts:[Mount] network? revoked? http? addresses:[text] peers:[Peer] hints?:Hints stores:[StoreStatus]",
    ),
    ("Mount", "dir store? source read_only:bool passthrough:bool"),
    ("MountList", "mounts:[Mount] stays:bool"),
    ("Hints", "sent:int heard:int taken:int"),
    ("Store", "id name created broken? read_only?"),
    ("StoreList", "stores:[Store]"),
    ("StoreStatus", "+Store open?:Open"),
    (
        "Open",
        "live_keys:int entries:int authors:int conflicts:int log_bytes:int pack_bytes:int state_bytes:int unsigned:int unapplied_bytes:int staged:int read_only? stalled? forked?:[text] cursor policy pins?:[KeyText] here?:Here",
    ),
    ("Here", "files:int whole:int bytes:int here:int"),
    ("Stats", "+Store files:int dirs:int symlinks:int others:int file_bytes:int largest_file:int open:Open"),
    ("KeyText", "key key_base64?"),
    ("Key", "+KeyText kind size:int mode:int uid:int gid:int mtime entry? author? conflict:int"),
    ("KeyList", "keys:[Key] cursor?"),
    ("Written", "entry hlc time removed?:int"),
    ("Version", "entry author hlc time kind size:int parents:[text] head:bool winner:bool"),
    ("History", "+KeyText versions:[Version]"),
    ("Head", "entry author hlc time kind size:int winner:bool"),
    ("Conflict", "+KeyText etag directory:bool heads:[Head]"),
    ("ConflictList", "conflicts:[Conflict]"),
    ("Op", "op key? key_base64? kind? size?:int program? parents?:[text]"),
    ("Entry", "cursor entry author seq:int hlc time local:bool ops:[Op]"),
    ("EntryList", "entries:[Entry] cursor?"),
    ("Import", "store name entries:int new_entries:int chunks:int bytes:int early:int conflicts:int"),
    (
        "Peer",
        "id name state rtt_ms?:number path? connected_seconds?:number seen? last_error? addresses:[text] added added_by behind_here?:int behind_there?:int root_live?:bool stores:[PeerStore]",
    ),
    ("PeerStore", "store name live:bool tips:int behind_here:int behind_there:int whole:bool"),
    ("PeerList", "revoked? peers:[Peer]"),
    ("Ping", "peer:Peer rtt_ms?:number error?"),
    ("PingList", "pings:[Ping]"),
    ("Sync", "store name held_by:[text] members:int connected:int"),
    ("Invite", "ticket invite expires uses:int addresses:[text] qr?:Qr"),
    ("Qr", "size:int path"),
    ("Token", "id name scope store? store_name? prefix prefix_base64? created expires? state by"),
    ("TokenList", "tokens:[Token]"),
    ("MadeToken", "+Token secret"),
    ("Session", "node name? version scope store? prefix token? csrf?"),
    ("WebLink", "url expires"),
];

/// A schema for each, by its name.
pub fn schemas() -> Map<String, Value> {
    let schema = |(name, fields): &(&str, &str)| ((*name).to_owned(), object(fields));
    ANSWERS.iter().map(schema).collect()
}

fn object(fields: &str) -> Value {
    let (mut required, mut properties) = (Vec::new(), Map::new());
    add(fields, &mut required, &mut properties);
    json!({ "type": "object", "required": required, "properties": properties })
}

fn add(fields: &str, required: &mut Vec<String>, properties: &mut Map<String, Value>) {
    for field in fields.split(' ') {
        if let Some(other) = field.strip_prefix('+') {
            let (_, fields) = ANSWERS.iter().find(|(name, _)| *name == other).unwrap_or(&("", ""));
            add(fields, required, properties);
            continue;
        }
        let (name, kind) = field.split_once(':').unwrap_or((field, "text"));
        match name.strip_suffix('?') {
            Some(name) => drop(properties.insert(name.into(), of_type(kind))),
            None => {
                required.push(name.into());
                properties.insert(name.into(), of_type(kind));
            }
        }
    }
}

fn of_type(kind: &str) -> Value {
    if let Some(item) = kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']')) {
        return json!({ "type": "array", "items": of_type(item) });
    }
    match kind {
        "text" => json!({ "type": "string" }),
        "int" => json!({ "type": "integer", "minimum": 0 }),
        "number" => json!({ "type": "number" }),
        "bool" => json!({ "type": "boolean" }),
        name => json!({ "$ref": format!("#/components/schemas/{name}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_schema() {
        let text = json!({ "type": "string" });
        assert_eq!(
            object("+KeyText size:int heads?:[Head]"),
            json!({
                "type": "object",
                "required": ["key", "size"],
                "properties": {
                    "key": text,
                    "key_base64": text,
                    "size": { "type": "integer", "minimum": 0 },
                    "heads": { "type": "array", "items": { "$ref": "#/components/schemas/Head" } },
                },
            })
        );
    }

    #[test]
    fn what_a_line_takes_in_is_there() {
        for (name, fields) in ANSWERS {
            for other in fields.split(' ').filter_map(|field| field.strip_prefix('+')) {
                assert!(ANSWERS.iter().any(|(name, _)| *name == other), "{name} takes in {other}");
            }
        }
    }
}
