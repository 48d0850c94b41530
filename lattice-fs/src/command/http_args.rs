//! How a daemon is to serve HTTP, as flags, environment and `config.toml` say, in this order.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;

use super::error::{Error, Result};
use crate::config::HttpConfig;
use crate::daemon::sidecar::{Config, Limits, TlsFiles};
use crate::http::origin::Origins;

/// The port where none is said.
pub const PORT: u16 = 4780;

/// The HTTP of the daemon that is started here; one that runs keeps the settings that it has.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// Serve HTTP here, for who has a token: an address, a port or both [default port: 4780]. off: don't.
    #[arg(long, env = "LATTICE_HTTP", value_name = "ADDR[:PORT]", hide_env_values = true)]
    http: Option<Listen>,
    /// A name that the HTTP listener is reached by, beside localhost and its address. May be repeated.
    #[arg(
        long,
        env = "LATTICE_HTTP_HOST",
        value_name = "NAME",
        value_delimiter = ',',
        hide_env_values = true
    )]
    http_host: Vec<String>,
    /// An origin whose pages may use the API with a token, such as `https://app.example`. May be repeated.
    #[arg(
        long,
        env = "LATTICE_HTTP_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ',',
        hide_env_values = true
    )]
    http_origin: Vec<String>,
    /// A reverse proxy does TLS: listen without it also where others could read along.
    #[arg(long, env = "LATTICE_HTTP_BEHIND_PROXY", value_parser = clap::builder::FalseyValueParser::new(), hide_env_values = true)]
    http_behind_proxy: bool,
    /// The certificate chain to serve HTTPS with, in PEM.
    #[arg(long, env = "LATTICE_TLS_CERT", value_name = "FILE", requires = "tls_key", hide_env_values = true)]
    tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, env = "LATTICE_TLS_KEY", value_name = "FILE", requires = "tls_cert", hide_env_values = true)]
    tls_key: Option<PathBuf>,
}

/// Where, or nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listen {
    Off,
    At(SocketAddr),
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        if text == "off" {
            return Ok(Self::Off);
        }
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        if let Ok(port) = text.parse() {
            return Ok(Self::At(SocketAddr::new(here, port)));
        }
        let (host, port) = match text.strip_prefix("localhost") {
            Some("") => return Ok(Self::At(SocketAddr::new(here, PORT))),
            Some(rest) => ("127.0.0.1", rest.strip_prefix(':').and_then(|p| p.parse().ok())),
            None => (text, Some(PORT)),
        };
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        ip.zip(port)
            .map(|(ip, port)| Self::At(SocketAddr::new(ip, port)))
            .ok_or_else(|| format!("{text:?} is no IP address, port, or both: 127.0.0.1:{PORT}"))
    }
}

impl HttpArgs {
    /// `None`: no HTTP.
    ///
    /// # Errors
    /// What the file says isn't what the flags would take.
    pub fn config(&self, file: &HttpConfig) -> Result<Option<Config>> {
        let said = file.listen.as_deref().map(str::parse::<Listen>).transpose();
        let said = said.map_err(|e| Error::Usage(format!("config.toml: http.listen: {e}")))?;
        let Some(Listen::At(listen)) = self.http.or(said) else { return Ok(None) };
        let or = |flags: &[String], file: &[String]| if flags.is_empty() { file } else { flags }.to_vec();
        let tls = match (self.tls_cert.clone(), self.tls_key.clone()) {
            (None, None) => (file.tls_cert.clone(), file.tls_key.clone()),
            flags => flags,
        };
        let tls = match tls {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(TlsFiles { cert: from_here(&cert), key: from_here(&key) }),
            _ => return Err(Error::Usage("a TLS certificate and its key go together".into())),
        };
        let hosts = or(&self.http_host, &file.hosts).iter().map(|h| h.to_ascii_lowercase()).collect();
        Ok(Some(Config {
            listen,
            origins: Origins { hosts, allowed: or(&self.http_origin, &file.origins) },
            tls,
            behind_proxy: self.http_behind_proxy || file.behind_proxy.unwrap_or(false),
            limits: Limits { body: file.max_body.unwrap_or(Limits::default().body), ..Limits::default() },
        }))
    }

    /// Whether the command line or the environment asks for it.
    pub fn asked(&self) -> bool {
        matches!(self.http, Some(Listen::At(_)))
    }

    /// The flags that say the same to a background process, which starts in `/`; the environment it inherits.
    pub fn flags(&self) -> Vec<OsString> {
        let mut flags: Vec<OsString> = Vec::new();
        match self.http {
            None => {}
            Some(Listen::Off) => flags.extend(["--http".into(), "off".into()]),
            Some(Listen::At(at)) => flags.extend(["--http".into(), at.to_string().into()]),
        }
        for (name, values) in [("--http-host", &self.http_host), ("--http-origin", &self.http_origin)] {
            flags.extend(values.iter().flat_map(|value| [name.into(), value.into()]));
        }
        flags.extend(self.http_behind_proxy.then(|| "--http-behind-proxy".into()));
        for (name, file) in [("--tls-cert", &self.tls_cert), ("--tls-key", &self.tls_key)] {
            let file = file.as_deref().map(from_here);
            flags.extend(file.into_iter().flat_map(|file| [name.into(), file.into()]));
        }
        flags
    }
}

/// A daemon works in `/`, so a file that is named from here is named in full.
fn from_here(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        http: HttpArgs,
    }

    fn args(words: &[&str]) -> HttpArgs {
        let words = std::iter::once(&"x").chain(words);
        Line::try_parse_from(words).expect("flags").http
    }

    #[test]
    fn an_address_a_port_or_both_say_where() {
        let at = |text: &str| match text.parse::<Listen>() {
            Ok(Listen::At(at)) => at.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(at("127.0.0.1"), "127.0.0.1:4780");
        assert_eq!(at("localhost"), "127.0.0.1:4780");
        assert_eq!(at("localhost:80"), "127.0.0.1:80");
        assert_eq!(at("8080"), "127.0.0.1:8080");
        assert_eq!(at("0"), "127.0.0.1:0");
        assert_eq!(at("[::1]"), "[::1]:4780");
        assert_eq!(at("::1"), "[::1]:4780");
        assert_eq!(at("0.0.0.0:80"), "0.0.0.0:80");
        assert_eq!(at("off"), "Ok(Off)");
        for bad in ["", "nas", "nas:80", "99999", "localhost:x", "1.2.3", "/mnt"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_go_before_the_file_and_come_out_as_they_went_in() {
        let file = HttpConfig {
            listen: Some("127.0.0.1:1".into()),
            hosts: vec!["old".into()],
            max_body: Some(7),
            ..HttpConfig::default()
        };
        let config = args(&[]).config(&file).expect("fine").expect("the file asks for it");
        assert_eq!((config.listen.port(), &config.origins.hosts[..]), (1, &["old".to_owned()][..]));
        assert_eq!(config.limits.body, 7);
        assert_eq!(args(&["--http", "off"]).config(&file).expect("fine"), None);
        assert_eq!(args(&[]).config(&HttpConfig::default()).expect("fine"), None, "off where nobody asks");
        let words = [
            "--http=192.0.2.1:2",
            "--http-host=A.example,b.example",
            "--http-origin=https://app.example",
            "--http-behind-proxy",
            "--tls-cert=/c",
            "--tls-key=/k",
        ];
        let given = args(&words);
        let config = given.config(&file).expect("fine").expect("on");
        assert_eq!(config.origins.hosts, ["a.example", "b.example"]);
        let flags: Vec<String> = given.flags().iter().map(|f| f.to_string_lossy().into_owned()).collect();
        let again = args(&flags.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(again.config(&file).expect("fine"), Some(config));
        let near =
            args(&["--http=1", "--tls-cert=c", "--tls-key=k"]).config(&file).expect("fine").expect("on");
        assert!(near.tls.is_some_and(|tls| tls.cert.is_absolute() && tls.key.is_absolute()));
        let half = HttpConfig { tls_cert: Some("/c".into()), ..file };
        args(&[]).config(&half).expect_err("no key");
    }
}
