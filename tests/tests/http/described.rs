//! `/openapi.json` says what is answered, to the last field.

use lattice_tests::fixture::Answer;
use serde_json::{Value, json};

use crate::served::{Served, at};

/// What a schema of the document has to say against a value.
fn wrong(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str().and_then(|to| to.strip_prefix("#/components/schemas/")) {
        return wrong(document, &document["components"]["schemas"][name], value, place);
    }
    let right = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => false,
    };
    if !right {
        return vec![format!("{place}: {value} is no {}", schema["type"])];
    }
    let mut found = Vec::new();
    for (name, inner) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        match schema["properties"].get(name) {
            Some(schema) => found.extend(wrong(document, schema, inner, &place)),
            None => found.push(format!("{place} isn't described")),
        }
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    found.extend(
        required.filter(|name| value.get(name).is_none()).map(|name| format!("{place} has no {name}")),
    );
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(wrong(document, &schema["items"], item, &format!("{place}[{i}]")));
    }
    found
}

#[test]
fn every_answer_holds_what_the_document_says_it_does() {
    let served = Served::new();
    let document = served.with_token(&[]).get("/openapi.json").expect("an answer").json().expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"].get("/shutdown").is_none(), "what isn't for tokens isn't there");
    served.admin.put(&at("dir/a"), "1").expect("put");
    let me = served.admin.get("/status").expect("an answer").json().expect("JSON")["node"].clone();
    let me = format!("/peers/{}", me.as_str().expect("an id"));
    let ask = |method: &str, path: &str, body: &Value| -> Answer {
        let bytes = if body.is_null() { String::new() } else { body.to_string() };
        let json = [("Content-Type", "application/json")];
        served.admin.send(method, path, &json, bytes.as_bytes()).expect("an answer")
    };
    let no = Value::Null;
    let puts = json!({ "ops": [{ "op": "put", "key": "b", "value": "1" }] });
    let name = json!({ "name": "third" });
    for (method, path, described, body) in [
        ("GET", "/status", "/status", &no),
        ("GET", "/mounts", "/mounts", &no),
        ("GET", "/peers", "/peers", &no),
        ("GET", &me, "/peers/{peer}", &no),
        ("PATCH", &me, "/peers/{peer}", &json!({ "name": "desk" })),
        ("POST", "/peers/ping", "/peers/ping", &no),
        ("POST", "/invites", "/invites", &json!({ "expires_seconds": 60, "uses": 1, "qr": true })),
        ("POST", "/tokens", "/tokens", &json!({ "scope": "ro", "store": "home", "expires_seconds": 60 })),
        ("GET", "/tokens", "/tokens", &no),
        ("GET", "/session", "/session", &no),
        ("GET", "/health/live", "/health/live", &no),
        ("GET", "/health/ready", "/health/ready", &no),
        ("POST", "/stores", "/stores", &name),
        ("PATCH", "/stores/third", "/stores/{store}", &json!({ "name": "fourth" })),
        ("GET", "/stores", "/stores", &no),
        ("PUT", "/stores/home/policy", "/stores/{store}/policy", &json!({ "policy": "on-demand" })),
        ("GET", "/stores/home?here=true", "/stores/{store}", &no),
        ("GET", "/stores/home/stats", "/stores/{store}/stats", &no),
        ("PUT", "/stores/home/keys/c%ff", "/stores/{store}/keys/{key}", &json!("bytes")),
        ("GET", "/stores/home/keys", "/stores/{store}/keys", &no),
        ("POST", "/stores/home/batch", "/stores/{store}/batch", &puts),
        ("DELETE", "/stores/home/keys/dir?recursive=true", "/stores/{store}/keys/{key}", &no),
        ("GET", "/stores/home/history/c%ff", "/stores/{store}/history/{key}", &no),
        ("GET", "/stores/home/entries", "/stores/{store}/entries", &no),
        ("GET", "/stores/home/conflicts", "/stores/{store}/conflicts", &no),
        ("GET", "/stores/home/conflicts/b", "/stores/{store}/conflicts/{key}", &no),
        ("POST", "/stores/home/sync", "/stores/{store}/sync", &json!({ "timeout_seconds": 20 })),
    ] {
        let answer = ask(method, path, body);
        assert!(answer.status < 300, "{method} {path}: {}", answer.text());
        let responses = &document["paths"][described][method.to_lowercase()]["responses"];
        let schema = &responses[answer.status.to_string()]["content"]["application/json"]["schema"];
        assert!(
            schema["$ref"].as_str().is_some_and(|to| !to.ends_with("/Any")),
            "{method} {path}: {responses}"
        );
        let found = wrong(&document, schema, &answer.json().expect("JSON"), "");
        assert!(found.is_empty(), "{method} {path}: {found:#?}");
    }
    served.passed();
}
