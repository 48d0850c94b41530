//! How the network is to run. Everything that reaches beyond this machine's own networks is off unless it is asked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Settings of one node's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen. Port 0 is the port that this node has chosen once and keeps.
    pub listen: Vec<SocketAddr>,
    /// Whether to find members on the local network, and be found.
    pub mdns: bool,
    pub relay: Relay,
    /// Whether to publish this node's addresses in the DNS, and look members up there.
    pub dns: bool,
    /// What this node calls itself, for people.
    pub name: String,
}

/// Servers that carry traffic between nodes that can't reach each other. They see sizes and times, not contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Relay {
    #[default]
    Off,
    /// The public ones that iroh's makers run.
    Public,
    /// One's own.
    At(String),
}

impl Default for Config {
    fn default() -> Self {
        let any = [(Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::UNSPECIFIED, 0).into()];
        Self { listen: any.into(), mdns: true, relay: Relay::Off, dns: false, name: host_name() }
    }
}

impl Config {
    /// On this machine only: for tests and for daemons side by side.
    pub fn loopback() -> Self {
        Self { listen: vec![(Ipv4Addr::LOCALHOST, 0).into()], mdns: false, ..Self::default() }
    }
}

impl std::fmt::Display for Relay {
    /// As it is read.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Public => "public",
            Self::At(url) => url,
        })
    }
}

impl std::str::FromStr for Relay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" | "none" => Ok(Self::Off),
            "public" => Ok(Self::Public),
            url => relay_address(url),
        }
    }
}

/// Without TLS only on this machine: a relay sees who talks to whom, and nobody else is to.
fn relay_address(text: &str) -> Result<Relay, String> {
    let url: Option<iroh::RelayUrl> = text.parse().ok();
    let host = url.as_ref().and_then(|url| url.host_str()).unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let here = host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match url.as_ref().map_or("", |url| url.scheme()) {
        _ if host.is_empty() => {}
        "https" => return Ok(Relay::At(text.into())),
        "http" if here => return Ok(Relay::At(text.into())),
        "http" => {
            return Err(format!(
                "{text:?} is a relay without TLS, which is for this machine alone: use https://"
            ));
        }
        _ => {}
    }
    Err(format!("{text:?} is no relay: off, public, or an address such as https://relay.example"))
}

fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    if name.is_empty() { "unnamed".into() } else { name.chars().take(64).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_local_network_by_default() {
        let config = Config::default();
        assert_eq!((config.relay, config.dns), (Relay::Off, false));
    }

    #[test]
    fn a_relay_is_a_word_or_an_address() {
        assert_eq!("off".parse(), Ok(Relay::Off));
        assert_eq!("public".parse(), Ok(Relay::Public));
        assert_eq!("https://r.example".parse(), Ok(Relay::At("https://r.example".into())));
        for here in ["http://localhost:3340", "http://127.0.0.1:3340", "http://[::1]:3340/"] {
            assert_eq!(here.parse(), Ok(Relay::At(here.into())));
        }
        let bad = [
            "r.example",
            "",
            "https://",
            "https:// x",
            "http://r.example",
            "http://10.0.0.1:80",
            "ftp://r.example",
            "no",
        ];
        for bad in bad {
            assert!(bad.parse::<Relay>().is_err(), "{bad}");
        }
    }
}
