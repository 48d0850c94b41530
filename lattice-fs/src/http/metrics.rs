//! `/metrics`: counts and sizes in the text format of Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::app::App;
use super::peers;
use super::problem::{Result, blocking};

/// What the listener counts itself.
#[derive(Debug, Default)]
pub struct Meters {
    /// Answers, by the first digit of their status.
    answers: [AtomicU64; 6],
}

impl Meters {
    pub fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).min(5);
        self.answers[class].fetch_add(1, Ordering::Relaxed);
    }
}

/// Lines of the format, a metric after the other.
#[derive(Default)]
struct Page(String);

impl Page {
    fn metric(&mut self, kind: &str, name: &str, help: &str) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "# HELP lattice_{name} {help}\n# TYPE lattice_{name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> = labels.iter().map(|(n, v)| format!("{n}=\"{}\"", escaped(v))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "lattice_{name}{labels} {value}");
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

pub async fn show(State(app): State<App>) -> Result<impl IntoResponse> {
    let page = blocking(move || page(&app)).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page))
}

fn page(app: &App) -> Result<String> {
    let mut page = Page::default();
    page.metric("gauge", "info", "The program and the node.");
    let node = app.node.id().to_string();
    page.value("info", &[("version", env!("CARGO_PKG_VERSION")), ("node", &node)], 1);
    stores(app, &mut page)?;
    members(app, &mut page)?;
    page.metric("counter", "http_answers_total", "Answers over TCP, by the class of their status.");
    for (class, count) in app.control.meters.answers.iter().enumerate().skip(1) {
        page.value("http_answers_total", &[("class", &format!("{class}xx"))], count.load(Ordering::Relaxed));
    }
    page.metric("gauge", "http_event_streams", "Event streams that are open over TCP.");
    let free = app.control.streams.available_permits();
    page.value("http_event_streams", &[], super::app::MAX_STREAMS.saturating_sub(free) as u64);
    page.metric("gauge", "mounts", "Mounts of the daemon.");
    page.value("mounts", &[], app.control.mounts.as_ref().map_or(0, |m| m.list().len() as u64));
    Ok(page.0)
}

fn stores(app: &App, page: &mut Page) -> Result<()> {
    let mut open = Vec::new();
    let infos = app.node.stores()?;
    page.metric(
        "gauge",
        "store_open",
        "Whether a store is open: 0 where it is broken or its data hasn't come.",
    );
    for info in infos {
        let id = info.id.to_string();
        let status = app.node.store(info.id).map(|s| s.status()).transpose()?;
        page.value("store_open", &[("store", &id), ("name", &info.name)], u64::from(status.is_some()));
        open.extend(status.map(|s| (id, info.name, s)));
    }
    type Read = fn(&lattice_engine::store::StoreStatus) -> u64;
    let metrics: [(&str, &str, Read); 9] = [
        ("store_live_keys", "Keys with a value.", |s| s.live_keys),
        ("store_entries", "Entries in the log.", |s| s.entries),
        ("store_conflicts", "Keys in conflict.", |s| s.conflicts),
        ("store_log_bytes", "Bytes of the log.", |s| s.log_bytes),
        ("store_pack_bytes", "Bytes of content.", |s| s.pack_bytes),
        ("store_state_bytes", "Bytes of the state file.", |s| s.state_bytes),
        ("store_staged", "Large files that are being stored.", |s| s.staged),
        ("store_read_only", "Whether it takes no writes.", |s| u64::from(s.read_only.is_some())),
        ("store_stalled", "Whether an entry can't be understood.", |s| u64::from(s.stalled.is_some())),
    ];
    for (name, help, read) in metrics {
        page.metric("gauge", name, help);
        for (id, store, status) in &open {
            page.value(name, &[("store", id), ("name", store)], read(status));
        }
    }
    Ok(())
}

fn members(app: &App, page: &mut Page) -> Result<()> {
    let peers = peers::docs(app)?;
    page.metric("gauge", "peer_connected", "Whether a member is connected.");
    for p in peers.iter().filter(|p| p.state != "this" && p.state != "revoked") {
        page.value(
            "peer_connected",
            &[("peer", &p.id), ("name", &p.name)],
            u64::from(p.state == "connected"),
        );
    }
    page.metric("gauge", "peer_behind", "Entries that one side has and the other lacks.");
    for p in &peers {
        for (side, behind) in [("here", p.behind_here), ("there", p.behind_there)] {
            if let Some(behind) = behind {
                page.value("peer_behind", &[("peer", &p.id), ("name", &p.name), ("side", side)], behind);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_can_hold_anything() {
        let mut page = Page::default();
        page.value("x", &[("name", "a\"b\\c\nd")], 1);
        assert_eq!(page.0, "lattice_x{name=\"a\\\"b\\\\c\\nd\"} 1\n");
    }
}
