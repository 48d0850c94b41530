//! How a daemon is to run its network, as flags and environment say. Flags go before the environment.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};

use clap::Args;
use lattice_engine::net::{Config, Relay};

/// The network of the daemon that is started here; one that runs keeps the settings that it has.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Network")]
pub struct NetArgs {
    /// Where to listen (UDP): an address, and a port where it is not to be the one that was chosen once. May be repeated.
    #[arg(
        long,
        env = "LATTICE_LISTEN",
        value_name = "ADDR[:PORT]",
        value_delimiter = ',',
        hide_env_values = true
    )]
    listen: Vec<Listen>,
    /// Don't look for members on the local network, and don't be found.
    #[arg(long, env = "LATTICE_NO_MDNS", value_parser = clap::builder::FalseyValueParser::new(), hide_env_values = true)]
    no_mdns: bool,
    /// Servers for nodes that can't reach each other: off, public, or one's own https:// address.
    #[arg(long, env = "LATTICE_RELAY", value_name = "off|public|URL", hide_env_values = true)]
    relay: Option<Relay>,
    /// Publish this node's addresses in the DNS, and look members up there.
    #[arg(long, env = "LATTICE_DNS", value_parser = clap::builder::FalseyValueParser::new(), hide_env_values = true)]
    dns: bool,
    /// No network at all.
    #[arg(long, env = "LATTICE_OFFLINE", value_parser = clap::builder::FalseyValueParser::new(), hide_env_values = true)]
    offline: bool,
}

/// An address with a port, or port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listen(SocketAddr);

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse::<SocketAddr>() {
            return Ok(Self(at));
        }
        let ip = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        ip.map(|ip| Self(SocketAddr::new(ip, 0))).map_err(|_| format!("{text:?} is no IP address"))
    }
}

impl NetArgs {
    /// `None`: no network.
    pub fn config(&self) -> Option<Config> {
        if self.offline {
            return None;
        }
        let base = Config::default();
        Some(Config {
            listen: match &self.listen[..] {
                [] => base.listen,
                listen => listen.iter().map(|l| l.0).collect(),
            },
            mdns: !self.no_mdns,
            relay: self.relay.clone().unwrap_or_default(),
            dns: self.dns,
            name: base.name,
        })
    }

    /// The flags that say the same to a background process; the environment it inherits.
    pub fn flags(&self) -> Vec<OsString> {
        let mut flags: Vec<OsString> = Vec::new();
        for Listen(at) in &self.listen {
            flags.extend(["--listen".into(), at.to_string().into()]);
        }
        flags.extend(self.no_mdns.then(|| "--no-mdns".into()));
        flags.extend(self.dns.then(|| "--dns".into()));
        flags.extend(self.offline.then(|| "--offline".into()));
        match &self.relay {
            None => {}
            Some(Relay::Off) => flags.extend(["--relay".into(), "off".into()]),
            Some(Relay::Public) => flags.extend(["--relay".into(), "public".into()]),
            Some(Relay::At(url)) => flags.extend(["--relay".into(), url.into()]),
        }
        flags
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        net: NetArgs,
    }

    #[test]
    fn flags_say_what_the_config_is_and_come_out_as_they_went_in() {
        let words = ["x", "--listen", "127.0.0.1", "--listen", "[::1]:9", "--no-mdns", "--relay", "public"];
        let net = Line::try_parse_from(words).expect("flags").net;
        let config = net.config().expect("a network");
        assert_eq!(
            config.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["127.0.0.1:0", "[::1]:9"]
        );
        assert_eq!((config.mdns, config.relay), (false, Relay::Public));
        let words = std::iter::once("x".into()).chain(net.flags());
        let again = Line::try_parse_from(words).expect("the same flags").net;
        assert_eq!(again.config(), net.config());
        assert_eq!(Line::try_parse_from(["x", "--offline"]).expect("flags").net.config(), None);
    }
}
