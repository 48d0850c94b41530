//! Nodes on loopback: joining, exchange, content, forks of the way between two nodes, and who gets nothing.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iroh::endpoint::{ConnectionError, PortmapperConfig, presets};
use iroh::{Endpoint, EndpointAddr, PublicKey, TransportAddr};
use lattice_engine::access::Ticket;
use lattice_engine::entry::{Attrs, Content, Node as Held, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;
use lattice_engine::net::{ALPN, Config, JOIN_ALPN, Net, PeerState, join, revoked_by};
use lattice_engine::node::Node;
use lattice_engine::store::{Change, Cites, Expect, Fetch, Handle, KeepHistory, StoreError};
use lattice_engine::sync::ALONE_MS;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(20);

/// A node with its network.
struct Machine {
    dir: TempDir,
    node: Node,
    net: Net,
}

fn config() -> Config {
    Config { name: "test".into(), ..Config::loopback() }
}

impl Machine {
    async fn founder() -> Self {
        let dir = TempDir::new().expect("a directory");
        Node::init(&data(&dir)).expect("init");
        Self::start(dir).await
    }

    async fn start(dir: TempDir) -> Self {
        let node = Node::open(&data(&dir)).expect("open");
        let net = Net::start(node.clone(), config()).await.expect("a network");
        Self { dir, node, net }
    }

    fn ticket(&self, uses: u32, lasts_ms: u64) -> Ticket {
        let expires_ms = self.node.now_ms() + lasts_ms;
        Ticket {
            genesis: self.node.root().genesis(),
            secret: self.node.invite(expires_ms, uses).expect("an invite"),
            expires_ms,
            inviter: self.node.id(),
            addresses: self.net.addresses().into_iter().map(Bytes::from).collect(),
        }
    }

    /// Another machine that has joined by this one, running.
    async fn invite(&self) -> Self {
        let dir = TempDir::new().expect("a directory");
        join(&data(&dir), &self.ticket(1, 60_000), &config()).await.expect("joins");
        let other = Self::start(dir).await;
        let me = other.node.id();
        until("the membership", || other.node.membership().contains(&me).then_some(())).await;
        other
    }

    async fn stop(self) -> TempDir {
        self.net.stop().await;
        self.node.close().expect("close");
        self.dir
    }

    /// The store of this name, when it is here.
    async fn store(&self, name: &str) -> Handle {
        until("the store", || self.node.find(name).ok()).await
    }

    async fn connected(&self, to: &Self) {
        let id = to.node.id();
        until("a connection", || {
            let status = self.net.peer_status(&id).ok()?;
            (status.state == PeerState::Connected).then_some(())
        })
        .await;
    }
}

fn data(dir: &TempDir) -> std::path::PathBuf {
    Path::join(dir.path(), "data")
}

async fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(done) = done() {
            return done;
        }
        assert!(began.elapsed() < DEADLINE, "{what} did not come within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn put(store: &Handle, key: &str, bytes: &[u8]) {
    let content = store.put_content(bytes).expect("content");
    let node = Held { file_id: FileId([7; 16]), value: Value::File(content), attrs: Attrs::default() };
    let key = Key::parse(key.as_bytes()).expect("a key");
    let change = Change::Put { key, node, cites: Cites::All, expect: Expect::Anything };
    store.commit(vec![change]).expect("a commit");
}

fn content(store: &Handle, key: &str) -> Option<Content> {
    let record = store.get(&Key::parse(key.as_bytes()).expect("a key")).expect("a look-up")?;
    record.winner()?.node.as_ref()?.content().cloned()
}

fn get(store: &Handle, key: &str) -> Option<Bytes> {
    let content = content(store, key)?;
    Some(store.read_waiting(&content).expect("a reader").read_all().expect("bytes"))
}

async fn arrives(store: &Handle, key: &str, bytes: &[u8]) {
    until(key, || (get(store, key)? == bytes).then_some(())).await;
}

/// Bytes that don't compress.
fn noise(len: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_7f4a_7c15u64;
    (0..len)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_and_what_either_writes_reaches_the_other() {
    let a = Machine::founder().await;
    let before = a.node.create_store("before").expect("a store");
    put(&before, "old", b"written before");
    let b = a.invite().await;
    let theirs = b.store("before").await;
    arrives(&theirs, "old", b"written before").await;
    put(&before, "x", b"from a");
    arrives(&theirs, "x", b"from a").await;
    put(&theirs, "y", b"from b");
    arrives(&before, "y", b"from b").await;
    // A store that is made later, on the node that joined.
    let later = b.node.create_store("later").expect("a store");
    put(&later, "z", b"later");
    arrives(&a.store("later").await, "z", b"later").await;
    b.node.rename_store(later.id(), "renamed").expect("renamed");
    a.store("renamed").await;
    b.node.delete_store(later.id()).expect("deleted");
    until("the deletion", || a.node.find("renamed").is_err().then_some(())).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_comes_by_itself_and_a_read_waits_for_it() {
    let a = Machine::founder().await;
    let ours = a.node.create_store("s").expect("a store");
    let b = a.invite().await;
    let theirs = b.store("s").await;
    let bytes = noise(9 << 20);
    put(&ours, "large", &bytes);
    until("the entry", || content(&theirs, "large")).await;
    // The entry is here, the bytes are on their way.
    let reader = {
        let (store, content) = (theirs.clone(), content(&theirs, "large").expect("content"));
        tokio::task::spawn_blocking(move || {
            store.read_waiting(&content).expect("a reader").read_all().expect("bytes")
        })
    };
    assert!(reader.await.expect("no panic") == bytes);
    put(&ours, "eager", &noise(5 << 20)[1..]);
    until("all chunks", || {
        let content = content(&theirs, "eager")?;
        theirs.content().missing(&content).ok()?.is_empty().then_some(())
    })
    .await;
    a.stop().await;
    b.stop().await;
}

/// It was whole when it was stored, so it is sent as it is; who gets it refuses it, and asks again for what is looked at anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_went_bad_is_found_by_who_asks_for_it_and_comes_once_it_is_stored_again() {
    let a = Machine::founder().await;
    let ours = a.node.create_store("s").expect("a store");
    let bytes = noise(1 << 20);
    put(&ours, "large", &bytes);
    let large = content(&ours, "large").expect("content");
    let chunks = ours.content().chunks_of(&large).expect("chunks");
    let (start, bad) = (chunks[0].len as usize, chunks[1].id.expect("data"));
    let damaged = files(&data(&a.dir)).into_iter().any(|path| {
        let mut stored = std::fs::read(&path).expect("a file");
        let Some(at) = stored.windows(64).position(|w| *w == bytes[start..][..64]) else { return false };
        stored[at] ^= 4;
        std::fs::OpenOptions::new().write(true).open(&path).and_then(|f| f.write_all_at(&stored, 0)).is_ok()
    });
    assert!(damaged, "no file has the chunk");
    let b = a.invite().await;
    let theirs = b.store("s").await;
    until("its damage", || (!ours.content().has_chunk(&bad).expect("looks")).then_some(())).await;
    let here = || theirs.content().bytes_here(&content(&theirs, "large")?).ok();
    until("the others", || (here()? == bytes.len() as u64 - chunks[1].len).then_some(())).await;
    put(&ours, "again", &bytes);
    until("all of it", || (here()? == bytes.len() as u64).then_some(())).await;
    assert_eq!(get(&theirs, "large").expect("content"), bytes);
    a.stop().await;
    b.stop().await;
}

/// Every file below a directory.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory").map(|e| e.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_demand_fetches_what_is_pinned_and_what_is_read() {
    const LARGE: usize = 40 << 20;
    let a = Machine::founder().await;
    let ours = a.node.create_store("s").expect("a store");
    let b = a.invite().await;
    let theirs = b.store("s").await;
    theirs.set_fetch(Fetch::OnDemand).expect("a policy");
    theirs.pin(&Key::parse(b"keep").expect("a key")).expect("a pin");
    put(&ours, "large", &noise(LARGE));
    // Behind it in the log: when it is here, the large one was passed over.
    put(&ours, "keep/pinned", &noise(3 << 20)[1..]);
    let here = |key: &str| {
        let content = content(&theirs, key)?;
        Some((theirs.content().bytes_here(&content).ok()? as usize, content.size() as usize))
    };
    until("what is pinned", || here("keep/pinned").filter(|(here, of)| here == of)).await;
    assert_eq!(here("large"), Some((0, LARGE)), "nobody has read it");
    let read = |from: u64, len: usize| {
        let (store, content) = (theirs.clone(), content(&theirs, "large").expect("content"));
        tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; len];
            let n = store.read_waiting(&content).and_then(|r| r.read_at(&mut bytes, from)).expect("read");
            bytes.truncate(n);
            bytes
        })
    };
    assert!(read(1 << 20, 4096).await.expect("no panic") == noise(LARGE)[1 << 20..][..4096]);
    // What was asked for beside it comes, too, and no more.
    until("what is ahead", || here("large").filter(|(here, _)| *here >= 2 << 20)).await;
    let (some, _) = here("large").expect("counted");
    assert!(some < 6 << 20, "{some} bytes for a read of 4096");
    // What isn't here is no damage.
    let report = theirs.gc(KeepHistory::All).expect("collected");
    assert_eq!(report.chunks, 0, "{report:?}");
    assert_eq!(theirs.fsck(false, &mut |_| {}).expect("checked").problems, Vec::<String>::new());
    let sum = theirs.here().expect("counted");
    assert!(sum.files == 2 && sum.whole == 1 && sum.here < sum.bytes, "{sum:?}");
    // Nobody waits any more.
    let waiting = content(&theirs, "large").expect("content");
    a.net.stop().await;
    let given_up = {
        let (store, size) = (theirs.clone(), waiting.size());
        tokio::task::spawn_blocking(move || store.bring(&waiting, size - 1..size, &|| true)).await
    };
    assert!(matches!(given_up.expect("no panic"), Err(StoreError::Interrupted)));
    let dir = a.stop().await;
    // Another policy: what was passed over comes.
    let a = Machine::start(dir).await;
    b.connected(&a).await;
    theirs.set_fetch(Fetch::Eager).expect("a policy");
    until("all of it", || here("large").filter(|(here, of)| here == of)).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_apart_is_there_after_a_restart() {
    let a = Machine::founder().await;
    let ours = a.node.create_store("s").expect("a store");
    let b = a.invite().await;
    b.store("s").await;
    let dir = b.stop().await;
    put(&ours, "meanwhile", b"while b was away");
    let b = Machine::start(dir).await;
    let theirs = b.store("s").await;
    put(&theirs, "back", b"b is back");
    arrives(&theirs, "meanwhile", b"while b was away").await;
    arrives(&ours, "back", b"b is back").await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_all_reach_each_other() {
    let a = Machine::founder().await;
    let ours = a.node.create_store("s").expect("a store");
    let b = a.invite().await;
    let c = b.invite().await;
    // Nobody told b where c is but c itself, and a by b.
    a.connected(&c).await;
    c.connected(&b).await;
    put(&c.store("s").await, "x", b"from c");
    arrives(&ours, "x", b"from c").await;
    arrives(&b.store("s").await, "x", b"from c").await;
    // The middle one goes: the others don't notice.
    b.stop().await;
    put(&ours, "y", b"from a");
    arrives(&c.store("s").await, "y", b"from a").await;
    a.stop().await;
    c.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_used_once_and_a_bad_one_never() {
    let a = Machine::founder().await;
    let refused = async |ticket: &Ticket, why: &str| {
        let dir = TempDir::new().expect("a directory");
        let e = join(&data(&dir), ticket, &config()).await.expect_err("refused").to_string();
        assert!(e.contains(why), "{e}");
        assert!(Node::open(&data(&dir)).is_err(), "no data directory was made");
    };
    let ticket = a.ticket(1, 60_000);
    let dir = TempDir::new().expect("a directory");
    join(&data(&dir), &ticket, &config()).await.expect("joins");
    refused(&ticket, "used already").await;
    refused(&a.ticket(1, 0), "expired").await;
    let other = Machine::founder().await;
    let forged = Ticket { secret: other.ticket(1, 60_000).secret, ..a.ticket(1, 60_000) };
    refused(&forged, "not known").await;
    let foreign = Ticket { genesis: other.node.root().genesis(), ..a.ticket(1, 60_000) };
    refused(&foreign, "another mesh").await;
    // Who has stores of its own keeps them.
    other.node.create_store("mine").expect("a store");
    let dir = other.stop().await;
    let e = join(&data(&dir), &a.ticket(1, 60_000), &config()).await.expect_err("refused").to_string();
    assert!(e.contains("a store of its own"), "{e}");
    a.stop().await;
}

/// Who is not a member: connects, asks for everything, and gets nothing.
async fn gets_nothing(endpoint: &Endpoint, from: &Machine, alpn: &[u8], say: &[u8]) {
    let id = PublicKey::from_bytes(from.node.id().as_bytes()).expect("a key");
    let addrs = from.net.addresses();
    let addrs = addrs.iter().filter_map(|a| a.parse().ok()).map(TransportAddr::Ip);
    let addr = EndpointAddr::from_parts(id, addrs);
    let Ok(conn) = endpoint.connect(addr, alpn).await else { return };
    let mut got = Vec::new();
    if let Ok((mut send, mut recv)) = conn.open_bi().await {
        let _refused = send.write_all(say).await;
        let mut buf = [0; 4096];
        while let Ok(Ok(Some(n))) = tokio::time::timeout(DEADLINE, recv.read(&mut buf)).await {
            got.extend_from_slice(&buf[..n]);
        }
    }
    let closed = tokio::time::timeout(DEADLINE, conn.closed()).await.expect("it closes");
    assert!(matches!(closed, ConnectionError::ApplicationClosed(_)), "{closed}");
    let secret = from.node.root().id();
    let secret = secret.as_bytes();
    assert!(!got.windows(secret.len()).any(|w| w == secret), "a name of a store");
    if alpn == ALPN {
        assert_eq!(got, b"", "not a byte");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_the_revoked_get_no_byte() {
    let a = Machine::founder().await;
    let ours = a.node.create_store("s").expect("a store");
    put(&ours, "secret", b"not for strangers");
    let stranger = Endpoint::builder(presets::Minimal)
        .portmapper_config(PortmapperConfig::Disabled)
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")
        .expect("an address")
        .bind()
        .await
        .expect("an endpoint");
    let hello = [2, 0x0a, 0, 0x10];
    gets_nothing(&stranger, &a, ALPN, &hello).await;
    gets_nothing(&stranger, &a, JOIN_ALPN, &hello).await;
    gets_nothing(&stranger, &a, JOIN_ALPN, &[0xff; 64]).await;
    stranger.close().await;

    let b = a.invite().await;
    let theirs = b.store("s").await;
    arrives(&theirs, "secret", b"not for strangers").await;
    a.connected(&b).await;
    a.node.revoke_member(b.node.id()).expect("revoked");
    until("the connection's end", || a.net.peer_status(&b.node.id()).is_err().then_some(())).await;
    put(&ours, "after", b"not for the revoked");
    put(&theirs, "late", b"does not count");
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        assert_eq!(get(&theirs, "after"), None);
        assert_eq!(get(&ours, "late"), None);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_peers_hold_durably_is_known() {
    let a = Machine::founder().await;
    let ours = a.node.create_store("s").expect("a store");
    let b = a.invite().await;
    b.store("s").await;
    put(&ours, "x", b"1");
    let net = a.net.clone();
    let id = ours.id();
    let tips = tokio::task::spawn_blocking(move || net.publish(id)).await.expect("no panic").expect("tips");
    assert!(a.net.wait_held(id, &tips, 1, DEADLINE).await);
    assert_eq!(a.net.holders(id, &tips), [b.node.id()]);
    assert!(a.net.ping(&b.node.id(), DEADLINE).await.expect("an answer") < DEADLINE);
    b.stop().await;
    put(&ours, "y", b"2");
    let net = a.net.clone();
    let tips = tokio::task::spawn_blocking(move || net.publish(id)).await.expect("no panic").expect("tips");
    assert!(!a.net.wait_held(id, &tips, 1, Duration::from_millis(200)).await);
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_node_is_told_by_who_cuts_it_off_and_remembers() {
    let a = Machine::founder().await;
    let b = a.invite().await;
    b.connected(&a).await;
    a.node.revoke_member(b.node.id()).expect("revoked");
    let by = a.node.id();
    until("the word", || b.net.revoked_by().contains(&by).then_some(())).await;
    let refuses = || b.net.peer_status(&by).is_ok_and(|peer| peer.state == PeerState::Refuses);
    until("its connection's end", || refuses().then_some(())).await;
    // Whoever dials again hears it again: a node that was away while it happened.
    let dir = b.stop().await;
    assert!(revoked_by(&data(&dir)).contains(&by), "kept for when no network runs");
    std::fs::remove_file(data(&dir).join("net/revoked-by")).expect("forgotten");
    let b = Machine::start(dir).await;
    until("the word", || b.net.revoked_by().contains(&by).then_some(())).await;
    b.stop().await;
    a.stop().await;
}

/// Makes `to` what the directory `from` is.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).expect("a copy")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_an_old_disk_hears_of_its_own_entries_before_it_writes() {
    let a = Machine::founder().await;
    let ours = a.node.create_store("s").expect("a store");
    let b = a.invite().await;
    put(&b.store("s").await, "old", b"b");
    arrives(&ours, "old", b"b").await;
    let dir = b.stop().await;
    let backup = TempDir::new().expect("a directory");
    copy(dir.path(), backup.path());
    let b = Machine::start(dir).await;
    put(&b.node.find("s").expect("the store"), "new", b"b");
    arrives(&ours, "new", b"b").await;
    b.stop().await;
    let restored = Machine::start(backup).await;
    let theirs = restored.node.find("s").expect("the store");
    assert!(content(&theirs, "old").is_some() && content(&theirs, "new").is_none(), "reads don't wait");
    put(&theirs, "restored", b"b");
    assert_eq!(get(&theirs, "new").as_deref(), Some(&b"b"[..]), "what it had written came first");
    arrives(&ours, "restored", b"b").await;
    for store in [&ours, &theirs] {
        assert!(store.forks().is_empty() && store.writable().is_ok());
    }
    restored.stop().await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_peers_are_away_waits_once_and_not_for_long() {
    let a = Machine::founder().await;
    a.node.create_store("s").expect("a store");
    let b = a.invite().await;
    b.store("s").await;
    a.stop().await;
    let b = Machine::start(b.stop().await).await;
    let theirs = b.node.find("s").expect("the store");
    let began = Instant::now();
    put(&theirs, "x", b"1");
    let first = began.elapsed();
    put(&theirs, "x", b"2");
    let second = began.elapsed() - first;
    assert!(first < Duration::from_millis(ALONE_MS) + Duration::from_secs(2), "{first:?}");
    assert!(second < Duration::from_secs(1), "{second:?}");
    // A store that it makes itself is nobody else's.
    let made = b.node.create_store("made").expect("a store");
    let began = Instant::now();
    put(&made, "x", b"1");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    b.stop().await;
}
