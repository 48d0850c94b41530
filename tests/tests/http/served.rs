//! A daemon that serves HTTP, with the stores `home` and `other`.

use lattice_tests::fixture::{Http, Machine, Peer};

pub struct Served {
    pub peer: Peer,
    /// Without a token.
    pub nobody: Http,
    /// With one that may do everything.
    pub admin: Http,
}

impl Served {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With more arguments for `serve`.
    pub fn with(args: &[&str]) -> Self {
        let mut peer = Peer::bare(&Machine::Loopback, "A").expect("a scratch directory");
        peer.lattice(["init", "--store", "home"]).ok().expect("initialised");
        peer.lattice(["store", "create", "other"]).ok().expect("another store");
        let nobody = peer.serve_http(args).expect("served");
        let admin = nobody.by(&peer.token(&["--scope", "admin"]).expect("a token"));
        Self { peer, nobody, admin }
    }

    /// Somebody with a token of these arguments.
    pub fn with_token(&self, args: &[&str]) -> Http {
        self.nobody.by(&self.peer.token(args).expect("a token"))
    }

    /// The test is over, and well.
    pub fn passed(mut self) {
        self.peer.passed();
    }
}

/// Where a key is.
pub fn at(key: &str) -> String {
    format!("/stores/home/keys/{key}")
}
