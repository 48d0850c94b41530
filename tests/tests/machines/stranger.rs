//! Somebody who speaks the protocol and isn't let in: connects with any key to any node, asks for everything in every way
//! that there is, and keeps what comes back.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use iroh::endpoint::{Connection, ConnectionError, RecvStream, SendStream, presets};
use iroh::{Endpoint, EndpointAddr, PublicKey, RelayMode, SecretKey, TransportAddr};
use lattice_engine::id::{NodeId, StoreId};
use lattice_engine::wire::v1;
use lattice_engine::wire::v1::control_frame::Kind as Control;
use lattice_engine::wire::v1::join_answer::Kind as Answer;
use lattice_engine::wire::v1::stream_open::Kind as Open;
use lattice_engine::wire::v1::sync_frame::Kind as Sync;
use lattice_tests::fixture::{Machine, Peer};
use parking_lot::Mutex;
use prost::Message;
use tokio::task::JoinSet;

/// How long it goes on asking while nobody closes the connection.
const PATIENCE: Duration = Duration::from_secs(3);
const ALPN: &[u8] = b"lattice/1";
const GOSSIP_ALPN: &[u8] = b"/iroh-gossip/1";
const JOIN_ALPN: &[u8] = b"lattice-join/1";

/// All that is to be known of a node from outside, and more than a stranger would know.
#[derive(Debug, Clone)]
pub struct Target {
    machine: Machine,
    id: NodeId,
    at: SocketAddr,
    root: Bytes,
    stores: Vec<Bytes>,
}

/// What came back.
#[derive(Debug, Default)]
pub struct Heard {
    /// Of all streams and datagrams.
    pub bytes: Vec<u8>,
    /// The code that the connection was closed with by the other side.
    pub closed: Option<u64>,
}

impl Heard {
    pub fn contains(&self, needle: &[u8]) -> bool {
        self.bytes.windows(needle.len()).any(|window| window == needle)
    }
}

impl Target {
    /// A running node, at the first machine of its network.
    pub fn of(peer: &Peer, machine: &Machine) -> Result<Self> {
        let Machine::Host(network, host) = machine else { anyhow::bail!("a node on a network") };
        let data = peer.home().join("data");
        let port = std::fs::read_to_string(data.join("net/port")).context("the node's port")?;
        let root = std::fs::read_to_string(data.join("root"))?;
        let mut stores = vec![store_id(root.trim())?];
        for store in peer.json(["store", "list"])?["stores"].as_array().into_iter().flatten() {
            stores.push(store_id(store["id"].as_str().unwrap_or_default())?);
        }
        Ok(Self {
            machine: machine.clone(),
            id: id_of(key_of(peer.home())?),
            at: SocketAddr::new(network.address(*host).into(), port.trim().parse()?),
            root: stores[0].clone(),
            stores,
        })
    }

    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The same node, taken for one of another mesh.
    pub fn of_other_mesh(&self) -> Self {
        Self { root: Bytes::from_static(&[7; 16]), ..self.clone() }
    }

    /// Asks for everything from the machine `from`, with a key.
    pub fn ask(&self, from: u8, key: [u8; 32]) -> Result<Heard> {
        self.run(from, move |target| async move {
            let questions = target.questions();
            target.hear(key, ALPN, questions).await
        })
    }

    /// Connects as gossip does, and takes what is sent: a member is greeted in every topic.
    pub fn hear_gossip(&self, from: u8, key: [u8; 32]) -> Result<Heard> {
        self.run(from, move |target| async move { target.hear(key, GOSSIP_ALPN, Vec::new()).await })
    }

    /// Asks to be let in with a proof that is none.
    pub fn ask_to_join(&self, from: u8, key: [u8; 32]) -> Result<(Heard, Option<Answer>)> {
        self.run(from, move |target| async move { target.join(key).await })
    }

    /// Whether a connection comes about by another protocol.
    pub fn speaks(&self, from: u8, key: [u8; 32], alpn: &'static [u8]) -> Result<bool> {
        self.run(from, move |target| async move {
            let endpoint = bind(key).await?;
            let connected = endpoint.connect(target.addr()?, alpn).await.is_ok();
            endpoint.close().await;
            Ok(connected)
        })
    }

    fn run<T: Send + 'static, F: Future<Output = Result<T>>>(
        &self,
        from: u8,
        work: impl FnOnce(Self) -> F + Send + 'static,
    ) -> Result<T> {
        let Machine::Host(network, _) = &self.machine else { anyhow::bail!("a node on a network") };
        let target = self.clone();
        network.within(from, move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(work(target))
        })
    }

    fn addr(&self) -> Result<EndpointAddr> {
        let id = PublicKey::from_bytes(self.id.as_bytes())?;
        Ok(EndpointAddr::from_parts(id, [TransportAddr::Ip(self.at)]))
    }

    async fn hear(self, key: [u8; 32], alpn: &[u8], questions: Vec<(Open, Vec<Vec<u8>>)>) -> Result<Heard> {
        let endpoint = bind(key).await?;
        let conn = match endpoint.connect(self.addr()?, alpn).await {
            Ok(conn) => conn,
            // Turned away while the handshake was still under way.
            Err(_) => return Ok(Heard::default()),
        };
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut asking = JoinSet::new();
        asking.spawn(listen(conn.clone(), self.clone(), heard.clone()));
        for (open, frames) in questions {
            asking.spawn(question(conn.clone(), open, frames, heard.clone()));
        }
        let closed = tokio::time::timeout(PATIENCE, conn.closed()).await.ok();
        asking.shutdown().await;
        endpoint.close().await;
        let bytes = std::mem::take(&mut *heard.lock());
        Ok(Heard { bytes, closed: closed.and_then(code) })
    }

    /// The first frame of each stream, and what follows it.
    fn questions(&self) -> Vec<(Open, Vec<Vec<u8>>)> {
        let hello =
            v1::PeerHello { version: 1, root_store: self.root.clone(), name: "x".into(), instance: 1 };
        let control = [Control::Hello(hello), Control::Ping(v1::Ping { nonce: 1 }), self.all_stores()];
        let control =
            control.map(|kind| v1::ControlFrame { kind: Some(kind) }.encode_length_delimited_to_vec());
        let mut all = vec![(Open::Control(v1::ControlOpen {}), control.to_vec())];
        for store in &self.stores {
            let store = store.clone();
            let open = v1::StoreOpen { store: store.clone(), genesis: Bytes::from_static(&[1; 32]) };
            all.push((Open::Store(open), self.sync_frames(&store)));
            let chunks = v1::ChunkRequest { ids: vec![Bytes::from_static(&[2; 32])], again: false };
            let open = v1::ChunksOpen { store: store.clone() };
            all.push((Open::Chunks(open), vec![chunks.encode_length_delimited_to_vec()]));
            all.push((Open::Genesis(v1::GenesisOpen { store }), Vec::new()));
        }
        all
    }

    fn all_stores(&self) -> Control {
        Control::Stores(v1::OpenStores { stores: self.stores.clone() })
    }

    fn sync_frames(&self, store: &Bytes) -> Vec<Vec<u8>> {
        let hello = v1::Hello {
            version: 1,
            store_id: store.clone(),
            genesis: Bytes::from_static(&[1; 32]),
            tips_digest: Bytes::from_static(&[3; 32]),
            state_root: Bytes::new(),
            check: true,
        };
        let range = v1::ChainRange { author: Bytes::copy_from_slice(self.id.as_bytes()), from: 1, to: 1 };
        let frames = [
            Sync::Hello(hello),
            Sync::Tips(v1::Tips::default()),
            Sync::Want(v1::Want { ranges: vec![range] }),
        ];
        frames.map(|kind| v1::SyncFrame { kind: Some(kind) }.encode_length_delimited_to_vec()).to_vec()
    }

    async fn join(self, key: [u8; 32]) -> Result<(Heard, Option<Answer>)> {
        let endpoint = bind(key).await?;
        let conn =
            endpoint.connect(self.addr()?, JOIN_ALPN).await.context("a node that may join connects")?;
        let (mut send, mut recv) = conn.open_bi().await?;
        let request = v1::JoinRequest {
            version: 1,
            root_store: self.root.clone(),
            proof: Bytes::from_static(&[5; 96]),
            name: "x".into(),
        };
        send.write_all(&request.encode_length_delimited_to_vec()).await?;
        send.finish()?;
        let bytes =
            tokio::time::timeout(PATIENCE, recv.read_to_end(1 << 20)).await.context("no answer")??;
        endpoint.close().await;
        let answer = v1::JoinAnswer::decode_length_delimited(&bytes[..])?;
        Ok((Heard { bytes, closed: None }, answer.kind))
    }
}

/// The secret key of the node whose data is there: what only it should have.
pub fn key_of(home: &Path) -> Result<[u8; 32]> {
    let text = std::fs::read_to_string(home.join("data/identity.key")).context("the node's key")?;
    let hex = text.trim().rsplit(' ').next().unwrap_or_default();
    let mut key = [0; 32];
    ensure!(hex.len() == 2 * key.len(), "a key of {} digits", hex.len());
    for (n, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * n..2 * n + 2], 16)?;
    }
    Ok(key)
}

/// The id that goes with a key.
pub fn id_of(key: [u8; 32]) -> NodeId {
    NodeId(*SecretKey::from_bytes(&key).public().as_bytes())
}

fn store_id(text: &str) -> Result<Bytes> {
    let id: StoreId = text.parse().with_context(|| format!("{text:?} is no store's id"))?;
    Ok(Bytes::copy_from_slice(id.as_bytes()))
}

async fn bind(key: [u8; 32]) -> Result<Endpoint> {
    let builder = Endpoint::builder(presets::Minimal).secret_key(SecretKey::from_bytes(&key));
    builder.relay_mode(RelayMode::Disabled).bind().await.map_err(|e| anyhow::anyhow!("no endpoint: {e:?}"))
}

fn code(closed: ConnectionError) -> Option<u64> {
    match closed {
        ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
        _ => None,
    }
}

async fn hear(mut recv: RecvStream, heard: Arc<Mutex<Vec<u8>>>) {
    while let Ok(Some(chunk)) = recv.read_chunk(1 << 20).await {
        heard.lock().extend_from_slice(&chunk);
    }
}

/// Opens a stream, asks, and hears the answer.
async fn question(conn: Connection, open: Open, frames: Vec<Vec<u8>>, heard: Arc<Mutex<Vec<u8>>>) {
    let Ok((send, recv)) = conn.open_bi().await else { return };
    let first = v1::StreamOpen { kind: Some(open) }.encode_length_delimited_to_vec();
    tell(send, std::iter::once(first).chain(frames), recv, heard).await;
}

async fn tell(
    mut send: SendStream,
    frames: impl Iterator<Item = Vec<u8>>,
    recv: RecvStream,
    heard: Arc<Mutex<Vec<u8>>>,
) {
    for frame in frames {
        if send.write_all(&frame).await.is_err() {
            break;
        }
    }
    // The stream stays open: the other side might still be about to say something.
    hear(recv, heard).await;
    drop(send);
}

/// Takes whatever the other side opens, and answers its stores' streams.
async fn listen(conn: Connection, target: Target, heard: Arc<Mutex<Vec<u8>>>) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            stream = conn.accept_bi() => {
                let Ok((send, recv)) = stream else { break };
                let frames: Vec<_> = target.stores.iter().flat_map(|store| target.sync_frames(store)).collect();
                let heard = heard.clone();
                streams.spawn(async move { tell(send, frames.into_iter(), recv, heard).await });
            }
            stream = conn.accept_uni() => {
                let Ok(recv) = stream else { break };
                streams.spawn(hear(recv, heard.clone()));
            }
            datagram = conn.read_datagram() => {
                let Ok(datagram) = datagram else { break };
                heard.lock().extend_from_slice(&datagram);
            }
        }
    }
    // What had come before the end is counted.
    while streams.join_next().await.is_some() {}
}
