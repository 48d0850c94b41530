//! `/openapi.json`: the API as a document, made from the table of routes. What the table doesn't say, which queries and bodies a
//! route takes and what it gives, stands in [`DETAILS`]; a test holds the two against each other.
//!
//! Kept by hand and not derived from the types: what a client needs to call the API are the requests, and those are few. What answers
//! hold is said in [`answers`]; their fields are those of `--json` on the command line.

use axum::Json;
use serde_json::{Map, Value, json};

use super::answers;
use super::routes::{Need, ROUTES, Route};

/// What a body is.
#[derive(Debug, Clone, Copy)]
enum Body {
    None,
    /// A document, by the name of its schema.
    Json(&'static str),
    Bytes(&'static str),
}

/// What the table of routes doesn't say.
#[derive(Debug)]
struct Detail {
    method: &'static str,
    path: &'static str,
    /// Names, types and what they are for.
    query: &'static [(&'static str, &'static str, &'static str)],
    takes: Body,
    status: u16,
    gives: Body,
}

const fn detail(
    method: &'static str,
    path: &'static str,
    query: &'static [(&'static str, &'static str, &'static str)],
    takes: Body,
    status: u16,
    gives: Body,
) -> Detail {
    Detail { method, path, query, takes, status, gives }
}

const PREFIX: (&str, &str, &str) =
    ("prefix", "string", "Only keys that begin with these bytes, percent-encoded");
const DURABLE: (&str, &str, &str) = ("durable", "boolean", "Answer once it survives a power loss");
const LINES: Body = Body::Bytes("application/x-ndjson");

/// What each route takes and gives; one that isn't here takes nothing and gives what [`PLAIN`] says.
#[rustfmt::skip]
const DETAILS: &[Detail] = &[
    detail("GET", "/status", &[], Body::None, 200, Body::Json("Status")),
    detail("GET", "/mounts", &[], Body::None, 200, Body::Json("MountList")),
    detail("POST", "/mounts", &[], Body::Json("MountRequest"), 201, Body::Json("Mount")),
    detail("DELETE", "/mounts", &[("dir", "string", "Which; all without it"), ("force", "boolean", "Detach one that is in use")], Body::None, 200, Body::Json("MountList")),
    detail("POST", "/stay", &[], Body::None, 200, Body::Json("Status")),
    detail("POST", "/shutdown", &[], Body::None, 202, Body::None),
    detail("GET", "/peers", &[], Body::None, 200, Body::Json("PeerList")),
    detail("POST", "/peers/ping", &[], Body::None, 200, Body::Json("PingList")),
    detail("GET", "/peers/{peer}", &[], Body::None, 200, Body::Json("Peer")),
    detail("POST", "/peers/{peer}/ping", &[], Body::None, 200, Body::Json("PingList")),
    detail("PATCH", "/peers/{peer}", &[], Body::Json("Name"), 200, Body::Json("Peer")),
    detail("DELETE", "/peers/{peer}", &[], Body::None, 204, Body::None),
    detail("POST", "/invites", &[], Body::Json("InviteRequest"), 201, Body::Json("Invite")),
    detail("GET", "/tokens", &[], Body::None, 200, Body::Json("TokenList")),
    detail("POST", "/tokens", &[], Body::Json("TokenRequest"), 201, Body::Json("MadeToken")),
    detail("DELETE", "/tokens/{token}", &[], Body::None, 204, Body::None),
    detail("GET", "/session", &[], Body::None, 200, Body::Json("Session")),
    detail("POST", "/session", &[], Body::Json("SessionRequest"), 200, Body::Json("Session")),
    detail("DELETE", "/session", &[], Body::None, 204, Body::None),
    detail("POST", "/session/links", &[], Body::None, 201, Body::Json("WebLink")),
    detail("GET", "/health/live", &[], Body::None, 200, Body::Json("Health")),
    detail("GET", "/health/ready", &[], Body::None, 200, Body::Json("Health")),
    detail("GET", "/metrics", &[], Body::None, 200, Body::Bytes("text/plain")),
    detail("POST", "/import", &[], Body::Bytes("application/vnd.lattice.bundle"), 200, Body::Json("Import")),
    detail("POST", "/gc", &[], Body::None, 200, LINES),
    detail("GET", "/stores", &[], Body::None, 200, Body::Json("StoreList")),
    detail("POST", "/stores", &[], Body::Json("Name"), 201, Body::Json("Store")),
    detail("GET", "/stores/{store}", &[("here", "boolean", "Count how much of an on-demand store is here, too")], Body::None, 200, Body::Json("StoreStatus")),
    detail("PATCH", "/stores/{store}", &[], Body::Json("Name"), 200, Body::Json("Store")),
    detail("DELETE", "/stores/{store}", &[], Body::None, 204, Body::None),
    detail("PUT", "/stores/{store}/policy", &[], Body::Json("Policy"), 200, Body::Json("StoreStatus")),
    detail("GET", "/stores/{store}/keys", &[PREFIX, ("delimiter", "string", "/: one level only"), ("limit", "integer", "Keys in a page"), ("cursor", "string", "Of the page before")], Body::None, 200, Body::Json("KeyList")),
    detail("GET", "/stores/{store}/keys/{*key}", &[("version", "string", "Another version: its entry id or a unique prefix")], Body::None, 200, Body::Bytes("*/*")),
    detail("PUT", "/stores/{store}/keys/{*key}", &[DURABLE], Body::Bytes("application/octet-stream"), 201, Body::Json("Written")),
    detail("DELETE", "/stores/{store}/keys/{*key}", &[("recursive", "boolean", "A directory with all below it"), DURABLE], Body::None, 200, Body::Json("Written")),
    detail("POST", "/stores/{store}/batch", &[DURABLE], Body::Json("Batch"), 200, Body::Json("Written")),
    detail("GET", "/stores/{store}/history/{*key}", &[("limit", "integer", "Versions at most")], Body::None, 200, Body::Json("History")),
    detail("GET", "/stores/{store}/entries", &[PREFIX, ("since", "string", "After this cursor"), ("limit", "integer", "Entries in a page"), ("newest", "boolean", "The last ones, newest first")], Body::None, 200, Body::Json("EntryList")),
    detail("GET", "/stores/{store}/conflicts", &[("below", "string", "At a key and below it")], Body::None, 200, Body::Json("ConflictList")),
    detail("GET", "/stores/{store}/conflicts/{*key}", &[], Body::None, 200, Body::Json("Conflict")),
    detail("POST", "/stores/{store}/conflicts/{*key}", &[], Body::Json("Resolve"), 200, Body::Json("Written")),
    detail("GET", "/stores/{store}/events", &[PREFIX, ("since", "string", "After this cursor; 0.0 is the beginning")], Body::None, 200, Body::Bytes("text/event-stream")),
    detail("GET", "/stores/{store}/export", &[], Body::None, 200, Body::Bytes("application/vnd.lattice.bundle")),
    detail("GET", "/stores/{store}/stats", &[], Body::None, 200, Body::Json("Stats")),
    detail("POST", "/stores/{store}/sync", &[], Body::Json("SyncRequest"), 200, Body::Json("Sync")),
    detail("POST", "/stores/{store}/gc", &[("keep", "string", "all, none, or seconds")], Body::None, 200, LINES),
    detail("POST", "/stores/{store}/fsck", &[("rebuild", "boolean", "Make the state anew from the log and compare")], Body::None, 200, LINES),
];

/// Any document.
const PLAIN: Detail = detail("", "", &[], Body::None, 200, Body::Json("Any"));

pub async fn show() -> Json<Value> {
    Json(document())
}

fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES.iter().filter(|r| r.need != Need::Local) {
        let path = route.path.replace("{*key}", "{key}");
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lattice",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Replicated stores over HTTP. Every path is served under /v1 too.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "ID:SECRET, as `lattice token create` prints it" } },
            "schemas": schemas(),
        },
    })
}

fn details(route: &Route) -> &'static Detail {
    let found = DETAILS.iter().find(|d| d.method == route.method.as_str() && d.path == route.path);
    found.unwrap_or(&PLAIN)
}

fn operation(route: &Route) -> Value {
    let detail = details(route);
    let mut parameters: Vec<Value> = path_parameters(route.path);
    parameters.extend(detail.query.iter().map(|(name, kind, what)| {
        json!({ "name": name, "in": "query", "description": what, "schema": { "type": kind } })
    }));
    let problem = json!({
        "description": "What went wrong",
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    let mut responses = Map::new();
    responses.insert(detail.status.to_string(), answer(detail.gives));
    if route.path.ends_with("/keys/{*key}") {
        let other = match route.method.as_str() {
            "GET" => Some(("206", detail.gives)),
            "PUT" => Some(("200", detail.gives)),
            _ => None,
        };
        responses.extend(other.map(|(status, gives)| (status.to_owned(), answer(gives))));
    }
    responses.insert("default".into(), problem);
    let mut operation = json!({ "summary": route.summary, "parameters": parameters, "responses": responses });
    if route.need != Need::Open {
        operation["security"] = json!([{ "token": [] }]);
    }
    match detail.takes {
        Body::None => {}
        Body::Json(schema) => {
            let schema = json!({ "schema": { "$ref": format!("#/components/schemas/{schema}") } });
            operation["requestBody"] = json!({ "required": true, "content": { "application/json": schema } });
        }
        Body::Bytes(kind) => {
            let schema = json!({ "schema": { "type": "string", "format": "binary" } });
            operation["requestBody"] = json!({ "required": true, "content": { kind: schema } });
        }
    }
    operation
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
    let of = |name: &str| {
        let name = name.trim_start_matches('*');
        let what = match name {
            "store" => "A store's UUID, or its name",
            "key" => "The key's bytes, percent-encoded; slashes between its segments may stand as they are",
            "peer" => "A member's id, a unique prefix of it, or its name",
            _ => "A token's id",
        };
        json!({ "name": name, "in": "path", "required": true, "description": what, "schema": { "type": "string" } })
    };
    names.map(of).collect()
}

fn answer(body: Body) -> Value {
    match body {
        Body::None => json!({ "description": "Done" }),
        Body::Json(schema) => {
            let schema = json!({ "schema": { "$ref": format!("#/components/schemas/{schema}") } });
            json!({ "description": "Done", "content": { "application/json": schema } })
        }
        Body::Bytes(kind) => json!({ "description": "Done", "content": { kind: {} } }),
    }
}

fn schemas() -> Map<String, Value> {
    let mut all = answers::schemas();
    if let Value::Object(requests) = requests() {
        all.extend(requests);
    }
    all
}

fn requests() -> Value {
    let text = json!({ "type": "string" });
    let flag = json!({ "type": "boolean" });
    let count = json!({ "type": "integer", "minimum": 0 });
    let object = |required: &[&str], properties: Value| json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false });
    json!({
        "Any": { "type": "object" },
        "Problem": {
            "type": "object",
            "required": ["type", "title", "status", "detail", "code"],
            "properties": { "type": text, "title": text, "status": count, "detail": text, "code": text },
        },
        "Name": object(&["name"], json!({ "name": text })),
        "Policy": object(&["policy"], json!({ "policy": { "enum": ["eager", "on-demand"] } })),
        "Resolve": object(&["pick"], json!({ "pick": text })),
        "InviteRequest": object(&["expires_seconds", "uses"], json!({ "expires_seconds": count, "uses": count, "qr": flag })),
        "TokenRequest": object(&["scope"], json!({
            "scope": { "enum": ["ro", "rw", "admin"] }, "name": text, "store": text, "prefix": text, "prefix_base64": text,
            "expires_seconds": count,
        })),
        "SessionRequest": object(&["code"], json!({ "code": text })),
        "SyncRequest": object(&["timeout_seconds"], json!({ "timeout_seconds": { "type": "number" }, "wait_peers": count })),
        "Batch": object(&["ops"], json!({ "ops": { "type": "array", "minItems": 1, "maxItems": 8192, "items": { "$ref": "#/components/schemas/BatchOp" } } })),
        "BatchOp": { "type": "object", "required": ["op", "key"], "additionalProperties": false, "properties": {
            "op": { "enum": ["put", "delete", "mkdir", "rename", "restore"] },
            "key": text, "key_base64": text, "value": text, "value_base64": text, "if_match": text, "if_absent": flag,
            "to": text, "to_base64": text, "no_replace": flag, "version": text,
        } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_detail_is_of_a_route_and_every_schema_is_there() {
        for d in DETAILS {
            assert!(
                ROUTES.iter().any(|r| r.method.as_str() == d.method && r.path == d.path),
                "{} {}",
                d.method,
                d.path
            );
        }
        let document = document();
        let text = document.to_string();
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap_or_default();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
        for route in ROUTES.iter().filter(|r| r.need != Need::Local) {
            let path = route.path.replace("{*key}", "{key}");
            assert!(
                document["paths"][path][route.method.as_str().to_lowercase()].is_object(),
                "{}",
                route.path
            );
        }
    }
}
