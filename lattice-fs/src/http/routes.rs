//! What every route asks of its caller: one table, beside the router that has the handlers. What isn't in it is refused, and
//! the OpenAPI document is made from it; a test holds it against the router.

use std::sync::LazyLock;

use axum::http::Method;
use lattice_engine::access::Scope;

use super::caller::Caller;
use super::problem::{Code, Problem, Result};

/// What a caller must be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing, not even a token.
    Open,
    /// Any token.
    Token,
    /// To read in a store; what is outside of the token's prefix is left out or refused by key.
    Read,
    /// To write in a store, likewise.
    Write,
    /// To read a whole store.
    ReadStore,
    /// To manage one store.
    AdminStore,
    /// To read what is about the node and all its stores.
    ReadNode,
    /// To manage the node: stores, members, tokens.
    AdminNode,
    /// To be on this machine, as the user who runs the daemon.
    Local,
}

impl Need {
    fn scope(self) -> Scope {
        match self {
            Self::Open | Self::Token | Self::Read | Self::ReadStore | Self::ReadNode => Scope::Read,
            Self::Write => Scope::Write,
            Self::AdminStore | Self::AdminNode | Self::Local => Scope::Admin,
        }
    }

    /// Refuses a caller that isn't allowed as much.
    pub fn check(self, caller: &Caller) -> Result<()> {
        let no = |why: &str| Err(Problem::new(Code::NotAuthorised, why));
        let grant = caller.grant();
        if self == Self::Local && !caller.is_local() {
            return no("this is done on the machine itself, with the `lattice` command");
        }
        if grant.scope < self.scope() {
            let detail =
                format!("this needs a token of scope {}, and this one is {}", self.scope(), grant.scope);
            return Err(Problem::new(Code::NotAuthorised, detail));
        }
        match self {
            Self::ReadNode | Self::AdminNode if !caller.sees_all_stores() => {
                no("this needs a token for all stores, and this one is for one")
            }
            Self::ReadStore | Self::AdminStore | Self::ReadNode | Self::AdminNode
                if !caller.sees_whole_stores() =>
            {
                no("this needs a token without a prefix")
            }
            _ => Ok(()),
        }
    }
}

/// One row.
#[derive(Debug)]
pub struct Route {
    pub method: Method,
    /// As the router has it.
    pub path: &'static str,
    pub need: Need,
    pub summary: &'static str,
}

const fn route(method: Method, path: &'static str, need: Need, summary: &'static str) -> Route {
    Route { method, path, need, summary }
}

const GET: Method = Method::GET;
const PUT: Method = Method::PUT;
const POST: Method = Method::POST;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

/// Every route of the API, without the `/v1` before it.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    route(GET, "/status", Need::ReadNode, "The node, its members and its stores"),
    route(GET, "/mounts", Need::ReadNode, "Where stores are mounted"),
    route(POST, "/mounts", Need::Local, "Mount"),
    route(DELETE, "/mounts", Need::Local, "Unmount"),
    route(POST, "/shutdown", Need::Local, "Stop the daemon"),
    route(POST, "/stay", Need::Local, "Keep the daemon when its last mount goes"),
    route(GET, "/settings", Need::Local, "What network and HTTP were started with"),
    route(POST, "/settings/http", Need::Local, "Serve HTTP from now on"),
    route(GET, "/peers", Need::ReadNode, "The members of the mesh"),
    route(POST, "/peers/ping", Need::ReadNode, "Measure the way to every member"),
    route(GET, "/peers/{peer}", Need::ReadNode, "One member"),
    route(PATCH, "/peers/{peer}", Need::AdminNode, "Name a member"),
    route(DELETE, "/peers/{peer}", Need::AdminNode, "Revoke a member, for good"),
    route(POST, "/peers/{peer}/ping", Need::ReadNode, "Measure the way to a member"),
    route(POST, "/invites", Need::AdminNode, "Make a ticket for a new member"),
    route(GET, "/tokens", Need::AdminNode, "The access tokens, without their secrets"),
    route(POST, "/tokens", Need::AdminNode, "Make an access token; its secret is told this once"),
    route(DELETE, "/tokens/{token}", Need::AdminNode, "Revoke an access token, everywhere"),
    route(GET, "/session", Need::Token, "Who asks, and what they may"),
    route(POST, "/session", Need::Open, "Sign a browser in by the code of a one-time link"),
    route(DELETE, "/session", Need::Token, "Sign a browser out"),
    route(POST, "/session/links", Need::Local, "Make a one-time link"),
    route(GET, "/health/live", Need::Open, "The process answers"),
    route(GET, "/health/ready", Need::Open, "The daemon does its work"),
    route(GET, "/metrics", Need::ReadNode, "Counts and sizes, for Prometheus"),
    route(GET, "/openapi.json", Need::Token, "This document"),
    route(POST, "/import", Need::AdminNode, "Take in a bundle"),
    route(POST, "/gc", Need::AdminNode, "Remove the data of deleted stores"),
    route(GET, "/stores", Need::Read, "The stores that the token sees"),
    route(POST, "/stores", Need::AdminNode, "Make a store"),
    route(GET, "/stores/{store}", Need::Read, "One store and its state"),
    route(PATCH, "/stores/{store}", Need::AdminStore, "Rename a store"),
    route(DELETE, "/stores/{store}", Need::AdminStore, "Delete a store"),
    route(PUT, "/stores/{store}/policy", Need::AdminStore, "Whether this node fetches large files before they are read"),
    route(GET, "/stores/{store}/keys", Need::Read, "List keys"),
    route(GET, "/stores/{store}/keys/{*key}", Need::Read, "A key's bytes"),
    route(PUT, "/stores/{store}/keys/{*key}", Need::Write, "Give a key these bytes"),
    route(DELETE, "/stores/{store}/keys/{*key}", Need::Write, "Remove a key"),
    route(POST, "/stores/{store}/batch", Need::Write, "Changes that happen together or not at all"),
    route(GET, "/stores/{store}/history/{*key}", Need::Read, "The versions of a key"),
    route(GET, "/stores/{store}/entries", Need::Read, "What happened in a store, a page at a time"),
    route(GET, "/stores/{store}/conflicts", Need::Read, "Keys whose versions differ"),
    route(GET, "/stores/{store}/conflicts/{*key}", Need::Read, "A key's heads"),
    route(POST, "/stores/{store}/conflicts/{*key}", Need::Write, "Settle a conflict"),
    route(GET, "/stores/{store}/events", Need::Read, "What happens in a store, as it happens"),
    route(GET, "/stores/{store}/export", Need::ReadStore, "A store as one signed file"),
    route(POST, "/stores/{store}/sync", Need::Write, "Exchange with the members now, and wait"),
    route(POST, "/stores/{store}/gc", Need::AdminStore, "Remove what no version needs"),
    route(POST, "/stores/{store}/fsck", Need::AdminStore, "Check a store"),
    route(GET, "/stores/{store}/stats", Need::ReadStore, "Count what a store holds"),
];

/// The row of a request, by the path that the router has matched. `HEAD` is `GET`.
pub fn of(method: &Method, matched: &str) -> Option<&'static Route> {
    let path = matched.strip_prefix("/v1").unwrap_or(matched);
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    ROUTES.iter().find(|r| r.path == path && r.method == *method)
}

/// The row of a request for the bytes of a key.
pub fn of_value(method: &Method) -> Option<&'static Route> {
    /// Looked for once, and not with every request.
    static ROWS: LazyLock<Vec<&'static Route>> =
        LazyLock::new(|| ROUTES.iter().filter(|r| r.path == "/stores/{store}/keys/{*key}").collect());
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    ROWS.iter().find(|r| r.method == *method).copied()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::http::sessions::{SessionId, Sessions};
    use lattice_engine::access::Grant;
    use lattice_engine::id::StoreId;
    use lattice_engine::key::Key;

    fn caller(scope: Scope, store: Option<StoreId>, prefix: Key) -> Caller {
        let grant = Grant { name: String::new(), scope, store, prefix, expires_ms: None };
        Caller::granted(grant)
    }

    fn signed_in() -> SessionId {
        let (sessions, now) = (Sessions::new(1, false), Instant::now());
        let link = sessions.link(now).expect("a link");
        sessions.sign_in(&link, now).expect("signed in").id
    }

    #[test]
    fn each_need_is_met_by_those_who_have_as_much() {
        let one = Some(StoreId([1; 16]));
        let below = Key::parse(b"notes").expect("a key");
        let callers = [
            caller(Scope::Read, one, below.clone()),
            caller(Scope::Write, one, below),
            caller(Scope::Read, one, Key::ROOT),
            caller(Scope::Admin, one, Key::ROOT),
            caller(Scope::Read, None, Key::ROOT),
            caller(Scope::Admin, None, Key::ROOT),
            Caller::session(signed_in()),
            Caller::local(),
        ];
        for (need, met) in [
            (Need::Token, "11111111"),
            (Need::Read, "11111111"),
            (Need::Write, "01010111"),
            (Need::ReadStore, "00111111"),
            (Need::AdminStore, "00010111"),
            (Need::ReadNode, "00001111"),
            (Need::AdminNode, "00000111"),
            (Need::Local, "00000001"),
        ] {
            let is: String = callers.iter().map(|c| if need.check(c).is_ok() { '1' } else { '0' }).collect();
            assert_eq!(is, met, "{need:?}");
        }
    }

    #[test]
    fn a_route_is_found_with_and_without_its_version() {
        let need = |method, path| of(&method, path).map(|r| r.need);
        assert_eq!(need(GET, "/stores"), Some(Need::Read));
        assert_eq!(need(Method::HEAD, "/v1/stores/{store}/keys/{*key}"), Some(Need::Read));
        assert_eq!(need(POST, "/v1/shutdown"), Some(Need::Local));
        assert_eq!(need(PUT, "/shutdown"), None);
        assert_eq!(need(GET, "/v1/v1/stores"), None);
    }
}
