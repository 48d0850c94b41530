//! `config.toml`: what is set for good. A flag counts before the environment, the environment before this file, the file
//! before the defaults.
//!
//! ```toml
//! log = "info"            # error, warn, info, debug, trace, or a filter (LATTICE_LOG)
//! log_format = "text"     # or "json" (LATTICE_LOG_FORMAT)
//! timeout = 60            # seconds to wait for the daemon's answer; 0: for ever (--timeout, LATTICE_TIMEOUT)
//!
//! [mount]
//! allow_other = false     # let other users in (--allow-other, --no-allow-other)
//! passthrough = true      # let the kernel read large files by itself where it can (--no-passthrough[=false])
//!
//! [network]               # of the daemon, and for joining
//! listen = ["0.0.0.0", "[::]:7000"] # addresses, with a port where it is not to be the one chosen once (--listen)
//! mdns = true             # find members on the local network, and be found (--no-mdns[=false], LATTICE_NO_MDNS)
//! relay = "off"           # "public" or "https://..." (--relay, LATTICE_RELAY)
//! dns = false             # publish and look up addresses in the DNS (--dns[=false], LATTICE_DNS)
//! offline = false         # no network at all (--offline[=false], LATTICE_OFFLINE)
//!
//! [http]
//! listen = "127.0.0.1"    # serve HTTP here (--http, LATTICE_HTTP); "off": don't
//! hosts = []              # names it is reached by (--http-host)
//! origins = []            # whose pages may use it (--http-origin)
//! behind_proxy = false    # a reverse proxy does TLS (--http-behind-proxy)
//! tls_cert = "/path"      # PEM (--tls-cert, --tls-key)
//! tls_key = "/path"
//! max_body = 68719476736  # bytes that one request may bring
//! ```
//!
//! It refuses what it doesn't know: a mistyped key would otherwise be a setting that silently doesn't hold.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use lattice_engine::net::Relay;
use toml_edit::{Document, Item, TableLike};

/// What the file sets; `None`: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    pub log: Option<String>,
    pub log_format: Option<LogFormat>,
    pub timeout: Option<u64>,
    pub mount: MountConfig,
    pub network: NetworkConfig,
    pub http: HttpConfig,
}

/// `[network]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkConfig {
    /// With port 0 where none is given.
    pub listen: Option<Vec<SocketAddr>>,
    pub mdns: Option<bool>,
    pub relay: Option<Relay>,
    pub dns: Option<bool>,
    pub offline: Option<bool>,
}

/// `[mount]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountConfig {
    pub allow_other: Option<bool>,
    pub passthrough: Option<bool>,
}

/// `[http]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpConfig {
    pub listen: Option<String>,
    pub hosts: Vec<String>,
    pub origins: Vec<String>,
    pub behind_proxy: Option<bool>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub max_body: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0} can't be read: {1}")]
    Unreadable(String, std::io::Error),
    #[error("{file}, line {line}: {why}. Correct it, or move the file away: `lattice doctor` checks it")]
    Wrong { file: String, line: usize, why: String },
}

impl Config {
    /// Reads the file; without one nothing is set.
    ///
    /// # Errors
    /// What is wrong with it, with file, line and key.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(&text).map_err(|Wrong { at, why }| ConfigError::Wrong {
                file: file.display().to_string(),
                line: text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1,
                why,
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(ConfigError::Unreadable(file.display().to_string(), e)),
        }
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        let document = Document::parse(text).map_err(|e| Wrong {
            at: e.span().map_or(0, |s| s.start),
            why: format!("it is not TOML: {}", e.message().replace('\n', ", ")),
        })?;
        let mut config = Self::default();
        for (key, item) in document.iter() {
            let value = Value { table: document.as_table(), prefix: "", key, item };
            match key {
                "log" => config.log = Some(value.log_filter()?),
                "log_format" => config.log_format = Some(value.log_format()?),
                "timeout" => config.timeout = Some(value.seconds()?),
                "mount" => config.mount = value.mount()?,
                "network" => config.network = value.network()?,
                "http" => config.http = value.http()?,
                _ => return Err(value.unknown("log, log_format, timeout, [mount], [network] and [http]")),
            }
        }
        Ok(config)
    }
}

/// What is wrong, and at which byte.
#[derive(Debug)]
struct Wrong {
    at: usize,
    why: String,
}

/// A key and what the file gives it.
struct Value<'a> {
    table: &'a dyn TableLike,
    prefix: &'a str,
    key: &'a str,
    item: &'a Item,
}

impl Value<'_> {
    fn wrong(&self, why: &str) -> Wrong {
        let key = self.table.key(self.key).and_then(toml_edit::Key::span);
        let at = key.or_else(|| self.item.span()).map_or(0, |s| s.start);
        Wrong { at, why: format!("{}{}: {why}", self.prefix, self.key) }
    }

    fn unknown(&self, known: &str) -> Wrong {
        self.wrong(&format!("there is no such key; there are {known}"))
    }

    fn log_filter(&self) -> Result<String, Wrong> {
        let text = self.item.as_str().ok_or_else(|| self.wrong("it takes a text, as \"info\""))?;
        match tracing_subscriber::EnvFilter::try_new(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(e) => Err(self.wrong(&format!("{text:?} is not a level or a filter ({e})"))),
        }
    }

    fn log_format(&self) -> Result<LogFormat, Wrong> {
        match self.item.as_str() {
            Some("text") => Ok(LogFormat::Text),
            Some("json") => Ok(LogFormat::Json),
            _ => Err(self.wrong("it is \"text\" or \"json\"")),
        }
    }

    fn seconds(&self) -> Result<u64, Wrong> {
        self.number("it takes a whole number of seconds, 0 or more")
    }

    fn number(&self, why: &str) -> Result<u64, Wrong> {
        let number = self.item.as_integer().and_then(|n| u64::try_from(n).ok());
        number.ok_or_else(|| self.wrong(why))
    }

    fn text(&self) -> Result<String, Wrong> {
        let text = self.item.as_str().filter(|t| !t.is_empty());
        text.map(str::to_owned).ok_or_else(|| self.wrong("it takes a text"))
    }

    fn path(&self) -> Result<PathBuf, Wrong> {
        let path = PathBuf::from(self.text()?);
        if path.is_absolute() { Ok(path) } else { Err(self.wrong("it takes an absolute path")) }
    }

    fn texts(&self) -> Result<Vec<String>, Wrong> {
        let list = self.item.as_array().map(|list| list.iter().map(|v| v.as_str().map(str::to_owned)));
        let texts = list.and_then(Iterator::collect);
        texts.ok_or_else(|| self.wrong("it takes a list of texts, as [\"a\", \"b\"]"))
    }

    fn http(&self) -> Result<HttpConfig, Wrong> {
        let table = self.item.as_table_like().ok_or_else(|| self.wrong("it is a table: [http]"))?;
        let mut http = HttpConfig::default();
        for (key, item) in table.iter() {
            let value = Value { table, prefix: "http.", key, item };
            match key {
                "listen" => http.listen = Some(value.text()?),
                "hosts" => http.hosts = value.texts()?,
                "origins" => http.origins = value.texts()?,
                "behind_proxy" => http.behind_proxy = Some(value.flag()?),
                "tls_cert" => http.tls_cert = Some(value.path()?),
                "tls_key" => http.tls_key = Some(value.path()?),
                "max_body" => http.max_body = Some(value.number("it takes a number of bytes")?),
                _ => {
                    let known = "listen, hosts, origins, behind_proxy, tls_cert, tls_key and max_body";
                    return Err(value.unknown(known));
                }
            }
        }
        Ok(http)
    }

    fn flag(&self) -> Result<bool, Wrong> {
        self.item.as_bool().ok_or_else(|| self.wrong("it is true or false"))
    }

    fn mount(&self) -> Result<MountConfig, Wrong> {
        let table = self.item.as_table_like().ok_or_else(|| self.wrong("it is a table: [mount]"))?;
        let mut mount = MountConfig::default();
        for (key, item) in table.iter() {
            let value = Value { table, prefix: "mount.", key, item };
            match key {
                "allow_other" => mount.allow_other = Some(value.flag()?),
                "passthrough" => mount.passthrough = Some(value.flag()?),
                _ => return Err(value.unknown("allow_other and passthrough")),
            }
        }
        Ok(mount)
    }

    fn network(&self) -> Result<NetworkConfig, Wrong> {
        let table = self.item.as_table_like().ok_or_else(|| self.wrong("it is a table: [network]"))?;
        let mut network = NetworkConfig::default();
        for (key, item) in table.iter() {
            let value = Value { table, prefix: "network.", key, item };
            match key {
                "listen" => network.listen = Some(value.addresses()?),
                "mdns" => network.mdns = Some(value.flag()?),
                "relay" => network.relay = Some(value.relay()?),
                "dns" => network.dns = Some(value.flag()?),
                "offline" => network.offline = Some(value.flag()?),
                _ => return Err(value.unknown("listen, mdns, relay, dns and offline")),
            }
        }
        Ok(network)
    }

    fn addresses(&self) -> Result<Vec<SocketAddr>, Wrong> {
        let texts: Option<Vec<&str>> = match (self.item.as_str(), self.item.as_array()) {
            (Some(one), _) => Some(vec![one]),
            (None, Some(list)) if !list.is_empty() => list.iter().map(toml_edit::Value::as_str).collect(),
            _ => None,
        };
        let texts =
            texts.ok_or_else(|| self.wrong("it takes an address, as \"0.0.0.0\", or a list of them"))?;
        texts.into_iter().map(|text| address(text).map_err(|why| self.wrong(&why))).collect()
    }

    fn relay(&self) -> Result<Relay, Wrong> {
        let text = self
            .item
            .as_str()
            .ok_or_else(|| self.wrong("it is \"off\", \"public\" or an https:// address"))?;
        text.parse().map_err(|e: String| self.wrong(&e))
    }
}

/// An address to listen at, with a port or with port 0.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(at) = text.parse::<SocketAddr>() {
        return Ok(at);
    }
    let ip = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    ip.map(|ip| SocketAddr::new(ip, 0)).map_err(|_| format!("{text:?} is no IP address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("config.toml");
        std::fs::write(&file, text).expect("a file");
        Config::load(&file).map_err(|e| e.to_string())
    }

    #[test]
    fn what_it_sets_is_set_and_the_rest_is_not() {
        let all = "log = \"lattice_fs=debug\"\nlog_format = \"json\"\ntimeout = 0\n[mount]\nallow_other = true\npassthrough = false\n\
             [network]\nlisten = [\"10.0.0.1\", \"[::1]:9\"]\nmdns = false\nrelay = \"public\"\ndns = true\noffline = false\n\
             [http]\nlisten = \"::1\"\nhosts = [\"nas\"]\ntls_cert = \"/c\"\nmax_body = 9\n";
        let want = Config {
            log: Some("lattice_fs=debug".into()),
            log_format: Some(LogFormat::Json),
            timeout: Some(0),
            mount: MountConfig { allow_other: Some(true), passthrough: Some(false) },
            network: NetworkConfig {
                listen: Some(vec![
                    "10.0.0.1:0".parse().expect("an address"),
                    "[::1]:9".parse().expect("one"),
                ]),
                mdns: Some(false),
                relay: Some(Relay::Public),
                dns: Some(true),
                offline: Some(false),
            },
            http: HttpConfig {
                listen: Some("::1".into()),
                hosts: vec!["nas".into()],
                tls_cert: Some("/c".into()),
                max_body: Some(9),
                ..HttpConfig::default()
            },
        };
        assert_eq!(load(all), Ok(want));
        assert_eq!(load("mount.allow_other = false").expect("dotted").mount.allow_other, Some(false));
        let one = load("network.listen = \"::1\"").expect("one address").network.listen;
        assert_eq!(one, Some(vec!["[::1]:0".parse().expect("an address")]));
        assert_eq!(load("# nothing\n"), Ok(Config::default()));
        let nowhere = Config::load(Path::new("/nowhere/at/all/config.toml"));
        assert_eq!(nowhere.expect("no file is no error"), Config::default());
    }

    #[test]
    fn what_is_wrong_is_said_with_file_line_and_key() {
        for (text, line, says) in [
            ("# a\n\nlogg = \"info\"", 3, "logg: there is no such key"),
            ("log = 3", 1, "log: it takes a text"),
            ("log = \"lattice=loud\"", 1, "log: \"lattice=loud\" is not a level"),
            ("log_format = \"xml\"", 1, "log_format: it is"),
            ("timeout = -1", 1, "timeout: it takes a whole number"),
            ("timeout = 1.5", 1, "timeout: it takes a whole number"),
            ("mount = true", 1, "mount: it is a table"),
            ("log = \"info\"\n[mount]\nallow_other = 1\n", 3, "mount.allow_other: it is true or false"),
            ("[http]\nlisten = 80", 2, "http.listen: it takes a text"),
            ("[http]\nhosts = [1]", 2, "http.hosts: it takes a list"),
            ("[http]\ntls_key = \"key\"", 2, "http.tls_key: it takes an absolute path"),
            ("[http]\nport = 1", 2, "http.port: there is no such key"),
            ("[mount]\nallow_others = true\n", 2, "mount.allow_others: there is no such key"),
            ("[network]\nport = 1\n", 2, "network.port: there is no such key"),
            ("[network]\nlisten = \"here\"\n", 2, "network.listen: \"here\" is no IP address"),
            ("[network]\nlisten = []\n", 2, "network.listen: it takes an address"),
            ("[network]\nrelay = \"relay.example\"\n", 2, "network.relay: "),
            ("timeout = 1\ntimeout = 2\n", 2, "it is not TOML"),
            ("a\nb = ", 1, "it is not TOML"),
        ] {
            let e = load(text).expect_err(text);
            assert!(e.contains(&format!("config.toml, line {line}: ")) && e.contains(says), "{text:?}: {e}");
            assert!(!e.contains('\n'), "{e}");
        }
    }
}
