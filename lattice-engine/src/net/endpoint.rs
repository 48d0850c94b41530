//! This node's end of every connection: one QUIC endpoint whose key is the node's identity, on a UDP port that was
//! chosen once. A fixed port is what makes a remembered address worth remembering, and what keeps a restarted node on
//! the path that its peers still use.

use std::mem::ManuallyDrop;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use iroh::endpoint::{PortmapperConfig, QuicTransportConfig, VarInt, presets};
use iroh::{Endpoint, RelayMode, SecretKey};
use iroh_mdns_address_lookup::MdnsAddressLookup;

use super::config::{Config, Relay};
use super::error::{NetError, Result};
use super::gate::{Gate, Hooks};
use super::hints::{self, Lines};
use super::{ALPN, JOIN_ALPN};
use crate::identity::Identity;

/// mDNS announces `<node>._lattice._udp.local`.
const MDNS_SERVICE: &str = "lattice";
/// A connection on which nothing arrives for so long is dead; three keep-alives must have been lost by then.
const IDLE: Duration = Duration::from_secs(12);
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// Streams that a peer may have open: one per store, a few for chunks; of gossip, one per store in each direction. With more
/// topics than that, gossip delivers nothing at all.
const MAX_STREAMS: u32 = 1024;
/// What a peer may send before we have read it: bounds memory per peer, and is far more than a LAN's bandwidth times
/// its delay.
const RECEIVE_WINDOW: u32 = 16 << 20;
/// Of one stream. QUIC gives a connection up when the packets of a stream that came in between lost ones are in more than
/// 1024 pieces: so there must not be room for twice as many packets, and the smallest that are full carry some 1150 bytes.
const STREAM_WINDOW: u32 = 2 << 20;

/// The endpoint, and what finds members on the local network.
#[derive(Debug)]
pub(super) struct Bound {
    pub endpoint: Endpoint,
    pub mdns: Option<MdnsAddressLookup>,
}

/// Binds. `dir`: where the port is kept.
pub(super) async fn bind(
    dir: &Path,
    identity: &Identity,
    config: &Config,
    gate: Gate,
    lines: Lines,
) -> Result<Bound> {
    let port = keep_port(dir, config)?;
    match bind_on(port, identity, config, gate.clone(), lines.clone()).await {
        Err(NetError::Bind { at, why }) if port != 0 => {
            tracing::warn!("UDP port {port} can't be had ({at}: {why}); another one is used this time");
            bind_on(0, identity, config, gate, lines).await
        }
        bound => bound,
    }
}

async fn bind_on(port: u16, identity: &Identity, config: &Config, gate: Gate, lines: Lines) -> Result<Bound> {
    let relay = match &config.relay {
        Relay::Off => RelayMode::Disabled,
        Relay::Public => RelayMode::Default,
        Relay::At(url) => RelayMode::custom([url.parse().map_err(|_| NetError::BadRelay(url.clone()))?]),
    };
    let secret = SecretKey::from_bytes(&identity.secret());
    let mut builder = match config.dns {
        true => Endpoint::builder(presets::N0),
        false => Endpoint::builder(presets::Minimal),
    }
    .secret_key(secret)
    .alpns(vec![ALPN.to_vec(), JOIN_ALPN.to_vec(), hints::ALPN.to_vec()])
    .relay_mode(relay)
    .portmapper_config(PortmapperConfig::Disabled)
    .transport_config(transport())
    .hooks(Hooks { gate, lines })
    .clear_ip_transports();
    for at in &config.listen {
        let at = SocketAddr::new(at.ip(), if at.port() == 0 { port } else { at.port() });
        // The second family may be missing on this machine.
        let required = at.is_ipv4() || config.listen.len() == 1;
        let options = iroh::endpoint::BindOpts::default().set_is_required(required);
        builder = builder.bind_addr_with_opts(at, options).map_err(|e| NetError::bind(at, e))?;
    }
    let endpoint = builder.bind().await.map_err(|e| {
        let at = config.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        NetError::Bind { at, why: why(&e) }
    })?;
    let mdns = if config.mdns { start_mdns(&endpoint) } else { None };
    Ok(Bound { endpoint, mdns })
}

/// Closes the endpoint, and goes on with it where nobody waits any more: an endpoint that is dropped half closed gives its
/// port back late, and complains in the log. Where the process ends first, it goes with the process.
pub(super) async fn close(endpoint: &Endpoint) {
    let endpoint = ManuallyDrop::new(endpoint.clone());
    let closing = tokio::spawn(async move {
        endpoint.close().await;
        drop(ManuallyDrop::into_inner(endpoint));
    });
    // A runtime that ends itself has ended the connections' reason to be.
    let _ = closing.await;
}

/// An error with what caused it: iroh's outermost one says little.
pub(super) fn why(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        text = format!("{text}: {e}");
        cause = e.source();
    }
    text
}

fn transport() -> QuicTransportConfig {
    let idle = VarInt::from_u32(IDLE.as_millis() as u32);
    QuicTransportConfig::builder()
        .max_idle_timeout(Some(idle.into()))
        .keep_alive_interval(KEEP_ALIVE)
        .default_path_keep_alive_interval(KEEP_ALIVE)
        .default_path_max_idle_timeout(IDLE)
        .max_concurrent_bidi_streams(VarInt::from_u32(MAX_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(MAX_STREAMS))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(u64::from(RECEIVE_WINDOW))
        .build()
}

/// Without a network that takes multicast there is none, and the node runs all the same.
fn start_mdns(endpoint: &Endpoint) -> Option<MdnsAddressLookup> {
    let built = MdnsAddressLookup::builder().service_name(MDNS_SERVICE).build(endpoint.id());
    match built {
        Ok(mdns) => {
            endpoint.address_lookup().ok()?.add(mdns.clone());
            Some(mdns)
        }
        Err(e) => {
            tracing::warn!("members on the local network aren't looked for: {e}");
            None
        }
    }
}

/// The port in `dir/port`, or one that is free now and is written there.
fn keep_port(dir: &Path, config: &Config) -> Result<u16> {
    let path = dir.join("port");
    if let Some(port) = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()) {
        return Ok(port);
    }
    let Some(at) = config.listen.iter().find(|at| at.port() == 0) else { return Ok(0) };
    let free = UdpSocket::bind(at).and_then(|s| s.local_addr()).map_err(|e| NetError::bind(*at, e))?;
    if let Err(e) = super::files::write(&path, format!("{}\n", free.port()).as_bytes()) {
        tracing::warn!("{} can't be written ({e}): the next start uses another port", path.display());
    }
    Ok(free.port())
}
