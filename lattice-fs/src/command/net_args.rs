//! How a daemon is to run its network: flags go before the environment, that before config.toml.

use std::ffi::OsString;
use std::net::SocketAddr;

use clap::Args;
use lattice_engine::net::{Config, Relay};

use crate::config::{NetworkConfig, address};

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
        value_parser = address,
        hide_env_values = true
    )]
    listen: Vec<SocketAddr>,
    /// Don't look for members on the local network, and don't be found.
    #[arg(
        long,
        env = "LATTICE_NO_MDNS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = clap::builder::FalseyValueParser::new(),
        hide_env_values = true
    )]
    no_mdns: Option<bool>,
    /// Servers for nodes that can't reach each other: off, public, or one's own https:// address.
    #[arg(long, env = "LATTICE_RELAY", value_name = "off|public|URL", hide_env_values = true)]
    relay: Option<Relay>,
    /// Publish this node's addresses in the DNS, and look members up there.
    #[arg(
        long,
        env = "LATTICE_DNS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = clap::builder::FalseyValueParser::new(),
        hide_env_values = true
    )]
    dns: Option<bool>,
    /// No network at all.
    #[arg(
        long,
        env = "LATTICE_OFFLINE",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = clap::builder::FalseyValueParser::new(),
        hide_env_values = true
    )]
    offline: Option<bool>,
}

impl NetArgs {
    /// `None`: no network.
    pub fn config(&self, file: &NetworkConfig) -> Option<Config> {
        if self.offline.or(file.offline).unwrap_or(false) {
            return None;
        }
        let base = Config::default();
        let listen = Some(self.listen.clone()).filter(|listen| !listen.is_empty());
        Some(Config {
            listen: listen.or_else(|| file.listen.clone()).unwrap_or(base.listen),
            mdns: self.no_mdns.map(|no| !no).or(file.mdns).unwrap_or(base.mdns),
            relay: self.relay.clone().or_else(|| file.relay.clone()).unwrap_or(base.relay),
            dns: self.dns.or(file.dns).unwrap_or(base.dns),
            name: base.name,
        })
    }

    /// The flags that say the same to a background process; the environment it inherits.
    pub fn flags(&self) -> Vec<OsString> {
        let mut flags: Vec<OsString> = Vec::new();
        for at in &self.listen {
            flags.extend(["--listen".into(), at.to_string().into()]);
        }
        for (flag, value) in [("--no-mdns", self.no_mdns), ("--dns", self.dns), ("--offline", self.offline)] {
            flags.extend(value.map(|value| format!("{flag}={value}").into()));
        }
        flags.extend(self.relay.iter().flat_map(|relay| ["--relay".into(), relay.to_string().into()]));
        flags
    }

    /// Whether the flags or the environment name an address: then it must be had. One in config.toml may be away for a
    /// while, and the machine's stores are there without it.
    pub fn insists(&self) -> bool {
        !self.listen.is_empty()
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
        let none = NetworkConfig::default();
        let config = net.config(&none).expect("a network");
        assert_eq!(
            config.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["127.0.0.1:0", "[::1]:9"]
        );
        assert_eq!((config.mdns, config.relay), (false, Relay::Public));
        let words = std::iter::once("x".into()).chain(net.flags());
        let again = Line::try_parse_from(words).expect("the same flags").net;
        assert_eq!(again.config(&none), net.config(&none));
        assert_eq!(Line::try_parse_from(["x", "--offline"]).expect("flags").net.config(&none), None);
    }

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let file = NetworkConfig {
            listen: Some(vec!["10.0.0.1:7".parse().expect("an address")]),
            mdns: Some(false),
            relay: Some(Relay::Public),
            dns: Some(true),
            offline: Some(true),
        };
        let of = |words: &[&str], file: &NetworkConfig| {
            let net = Line::try_parse_from(std::iter::once(&"x").chain(words)).expect("flags").net;
            // As the background process sees it.
            let flags = std::iter::once("x".into()).chain(net.flags());
            let there = Line::try_parse_from(flags).expect("the same flags").net.config(file);
            assert_eq!(there, net.config(file));
            there
        };
        assert_eq!(of(&[], &file), None);
        let on = NetworkConfig { offline: None, ..file.clone() };
        let said = of(&[], &on).expect("a network");
        assert_eq!(
            (&said.listen, said.mdns, &said.relay, said.dns),
            (on.listen.as_ref().expect("one"), false, &Relay::Public, true)
        );
        let flags =
            ["--offline=false", "--no-mdns=false", "--dns=false", "--relay", "off", "--listen", "::1"];
        let said = of(&flags, &file).expect("a network");
        assert_eq!((said.mdns, said.relay, said.dns), (true, Relay::Off, false));
        assert_eq!(said.listen, ["[::1]:0".parse().expect("an address")]);
    }
}
