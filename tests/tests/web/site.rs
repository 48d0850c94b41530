//! Two machines, `laptop` and `desk`, with the store `home` mounted on both, and a browser that is signed in to the laptop's
//! page.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lattice_tests::browser::{Browser, Page};
use lattice_tests::fixture::{Machine, Peer, until};

/// What a change may take to get from one place to another, on a machine that may be busy.
pub const SOON: Duration = Duration::from_secs(20);

pub struct Site {
    pub laptop: Peer,
    pub browser: Browser,
    pub page: Page,
    /// Where the page is, without a `/` at its end.
    pub url: String,
    pub store: String,
}

impl Site {
    /// One machine.
    pub fn start() -> Result<Self> {
        Self::start_where(&[])
    }

    /// One machine, and a browser for which names are what a test says.
    pub fn start_where(names: &[(&str, &str)]) -> Result<Self> {
        let mut laptop = Peer::bare(&Machine::Loopback, "laptop")?;
        laptop.set("LATTICE_HTTP", "127.0.0.1:0");
        laptop.lattice(["init", "--name", "laptop", "--store", "home"]).ok()?;
        laptop.mount()?;
        let url = url_of(&laptop)?;
        // The same again when it is started again.
        laptop.set("LATTICE_HTTP", url.trim_start_matches("http://"));
        let store = laptop.json(["status"])?["stores"][0]["id"].as_str().context("a store's id")?.to_owned();
        let browser = Browser::start(names)?;
        let page = browser.page(false)?;
        let site = Self { laptop, browser, page, url, store };
        site.sign_in(&site.page)?;
        Ok(site)
    }

    /// Another machine that joins by this one, with `home` mounted.
    pub fn desk(&self) -> Result<Peer> {
        let desk = Peer::join(&Machine::Loopback, "desk", &self.laptop)?;
        self.laptop.lattice(["peer", "name", &desk.id()?, "desk"]).ok()?;
        Ok(desk)
    }

    pub fn sign_in(&self, page: &Page) -> Result<()> {
        let link = self.laptop.lattice(["web"]).ok()?;
        let link = link.split_whitespace().find(|word| word.starts_with("http")).context("a link")?;
        page.open(link)?;
        page.shows("Overview")
    }

    /// Goes to a view of the store.
    pub fn visit(&self, view: &str) -> Result<()> {
        self.page.open("about:blank")?;
        self.page.open(&format!("{}/#/store/{}/{view}", self.url, self.store))
    }

    /// Goes to a view beside the stores.
    pub fn visit_top(&self, view: &str) -> Result<()> {
        self.page.open("about:blank")?;
        self.page.open(&format!("{}/#/{view}", self.url))
    }

    /// The test is over, and well: nothing went wrong on the page either.
    pub fn end(mut self) {
        let complaints = self.page.complaints();
        assert!(complaints.is_empty(), "the page complains: {complaints:#?}");
        self.laptop.passed();
    }
}

pub fn url_of(peer: &Peer) -> Result<String> {
    let status = peer.json(["status"])?;
    match status["http"].as_str() {
        Some(url) => Ok(url.trim_end_matches('/').to_owned()),
        None => bail!("the daemon serves no HTTP: {status}"),
    }
}

/// Lets both write while neither hears of the other, and then meet.
pub fn apart(a: &mut Peer, b: &mut Peer, write: impl FnOnce(&Peer, &Peer) -> Result<()>) -> Result<()> {
    for peer in [&mut *a, &mut *b] {
        peer.stop()?;
        peer.set("LATTICE_OFFLINE", "1");
        peer.mount()?;
    }
    write(a, b)?;
    for peer in [&mut *a, &mut *b] {
        peer.stop()?;
        peer.set("LATTICE_OFFLINE", "");
        peer.mount()?;
    }
    a.meets(1, SOON)?;
    a.lattice(["sync", "home", "--wait-peers", "1"]).ok()?;
    b.lattice(["sync", "home", "--wait-peers", "1"]).ok()?;
    Ok(())
}

/// Keys in conflict on a node.
pub fn conflicts(peer: &Peer) -> Result<usize> {
    let listed = peer.json(["conflicts", "home"])?;
    Ok(listed["stores"][0]["conflicts"].as_array().map_or(0, Vec::len))
}

/// Waits until both have no conflict any more, and a file reads the same on both.
pub fn settled(peers: [&Peer; 2], name: &str, text: &str) -> Result<()> {
    for peer in peers {
        until(
            &format!("no conflict on {}", peer.name()),
            SOON,
            || Ok((conflicts(peer)? == 0).then_some(())),
        )?;
        peer.awaits(name, text, SOON)?;
    }
    Ok(())
}
