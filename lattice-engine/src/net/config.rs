//! How the network is to run. Everything that reaches beyond this machine's own networks is off unless it is asked for.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

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

impl std::str::FromStr for Relay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" | "none" => Ok(Self::Off),
            "public" => Ok(Self::Public),
            url if url.starts_with("https://") || url.starts_with("http://") => Ok(Self::At(url.into())),
            other => Err(format!("{other:?} is no relay: off, public, or an https:// address")),
        }
    }
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
        assert!("r.example".parse::<Relay>().is_err());
    }
}
