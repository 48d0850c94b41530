//! Flags for a daemon that runs already. It keeps the settings that it was started with; a flag that says the same is fine, HTTP
//! can be added where there is none, and any other is refused: one that is dropped would be taken for one that holds.

use super::context::Context;
use super::error::{Error, Result};
use super::http_args::HttpArgs;
use super::net_args::NetArgs;
use super::typed::Typed;
use crate::client::Client;
use crate::http::model::StatusDoc;
use crate::http::settings::{HttpDoc, SettingsDoc};

/// Makes the daemon that runs what the typed flags ask for.
///
/// # Errors
/// A flag that it can't take over.
pub async fn take_over(
    ctx: &Context,
    daemon: &Client,
    net: &Typed<NetArgs>,
    http: &Typed<HttpArgs>,
) -> Result<()> {
    if net.typed().is_empty() && http.typed().is_empty() {
        return Ok(());
    }
    let wanted = SettingsDoc {
        network: net.config(&ctx.config.network).as_ref().map(Into::into),
        http: http.config(&ctx.config.http)?.as_ref().map(Into::into),
    };
    let has: SettingsDoc = daemon.get("/settings").send().await?.json().await?;
    let added = wanted.http.as_ref().filter(|_| has.http.is_none() && http.asked());
    let fixed = http.typed().iter().filter(|_| added.is_none());
    let dropped: Vec<String> =
        net.typed().iter().chain(fixed).filter_map(|flag| differs(flag, &wanted, &has)).collect();
    if !dropped.is_empty() {
        let status: StatusDoc = daemon.get("/status").send().await?.json().await?;
        return Err(Error::Usage(format!(
            "a daemon runs already, as process {}, and keeps what it was started with: {}. Stop it first (`lattice serve \
             --stop`, which unmounts), then start it with this",
            status.daemon_pid.unwrap_or(0),
            dropped.join(", ")
        )));
    }
    if let Some(settings) = added {
        let _started: HttpDoc = daemon.post("/settings/http").json(settings)?.send().await?.json().await?;
    }
    Ok(())
}

/// How a flag isn't what the daemon has.
fn differs(flag: &str, wanted: &SettingsDoc, has: &SettingsDoc) -> Option<String> {
    let (wanted, has) = (value(flag, wanted), value(flag, has));
    (wanted != has).then(|| match has {
        Some(has) => format!("--{flag} doesn't hold, for it has {has}"),
        None if flag.starts_with("http") || flag.starts_with("tls") => {
            format!("--{flag} doesn't hold, for it serves no HTTP")
        }
        None => format!("--{flag} doesn't hold, for it has no network"),
    })
}

/// What a flag comes to; `None` where what it is about isn't there.
fn value(flag: &str, settings: &SettingsDoc) -> Option<String> {
    let (net, http) = (settings.network.as_ref(), settings.http.as_ref());
    let list = |texts: &[String]| texts.join(",");
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map_or_else(|| "none".into(), |path| path.display().to_string())
    };
    match flag {
        "offline" => Some(net.is_none().to_string()),
        "listen" => net.map(|n| list(&n.listen.iter().map(ToString::to_string).collect::<Vec<_>>())),
        "no-mdns" => net.map(|n| (!n.mdns).to_string()),
        "relay" => net.map(|n| n.relay.clone()),
        "dns" => net.map(|n| n.dns.to_string()),
        "http" => http.map(|h| h.listen.to_string()),
        "http-host" => http.map(|h| list(&h.hosts)),
        "http-origin" => http.map(|h| list(&h.origins)),
        "http-behind-proxy" => http.map(|h| h.behind_proxy.to_string()),
        "tls-cert" => http.map(|h| path(&h.tls_cert)),
        "tls-key" => http.map(|h| path(&h.tls_key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::*;

    /// A flag that is added there has to be here, or it would be dropped again.
    #[test]
    fn every_flag_has_a_value() {
        let network = lattice_engine::net::Config::default();
        let http = crate::http::settings::HttpSettings {
            listen: "127.0.0.1:1".parse().expect("an address"),
            hosts: Vec::new(),
            origins: Vec::new(),
            behind_proxy: false,
            tls_cert: None,
            tls_key: None,
            max_body: 1,
        };
        let all = SettingsDoc { network: Some((&network).into()), http: Some(http) };
        let flags = HttpArgs::augment_args(NetArgs::augment_args(clap::Command::new("x")));
        let names: Vec<&str> = flags.get_arguments().filter_map(|arg| arg.get_long()).collect();
        assert!(names.len() > 9, "{names:?}");
        for flag in names {
            assert!(value(flag, &all).is_some(), "--{flag}");
        }
    }
}
