//! The router through the client, over a node in a temporary directory: no mount, no socket.

mod bad_input;
mod conflicts;
mod listing;
mod streams;
mod values;

use axum::body::Body;
use lattice_engine::node::Node;
use tempfile::TempDir;

use super::{Client, ClientError, Response};
use crate::http::encode;
use crate::http::model::{KeyDoc, KeyList, Written};
use crate::http::problem::Code;

/// A node with a store `home`.
struct Bench {
    client: Client,
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        Node::init(&data).expect("initialised");
        let node = Node::open(&data).expect("opened");
        node.create_store("home").expect("a store");
        Self { client: Client::in_process(node), dir }
    }

    async fn put(&self, key: &[u8], value: impl Into<Body>) -> Written {
        let answer = self.client.put(at(key)).body(value.into()).send().await.expect("put");
        answer.json().await.expect("a document")
    }

    async fn get(&self, key: &[u8]) -> Vec<u8> {
        let answer = self.client.get(at(key)).send().await.expect("there");
        answer.bytes().await.expect("whole").to_vec()
    }

    /// All keys that begin with `prefix`, in pages of `limit`.
    async fn list(&self, prefix: &[u8], delimiter: &str, limit: usize) -> Vec<KeyDoc> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let request = self.client.get("/stores/home/keys").query_bytes("prefix", prefix);
            let request = request.query("delimiter", delimiter).query("limit", &limit.to_string());
            let answer = request.query_opt("cursor", cursor.as_deref()).send().await.expect("a page");
            let page: KeyList = answer.json().await.expect("a document");
            assert!(page.keys.len() <= limit, "a page is at most {limit}");
            all.extend(page.keys);
            match page.cursor {
                Some(next) => cursor = Some(next),
                None => return all,
            }
        }
    }
}

fn at(key: &[u8]) -> String {
    format!("/stores/home/keys/{}", encode(key))
}

fn code(result: super::Result<Response>) -> Code {
    match result {
        Err(ClientError::Problem(p)) => {
            assert_eq!(p.kind, format!("urn:lattice:problem:{}", p.code.as_str()));
            assert_eq!(p.status, p.code.status().as_u16());
            p.code
        }
        other => panic!("not a problem: {other:?}"),
    }
}
