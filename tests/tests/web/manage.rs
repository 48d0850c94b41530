//! Machines, invites and tokens.

use lattice_tests::fixture::{Machine, Peer};

use crate::browsers;
use crate::site::Site;

#[test]
fn a_machine_joins_by_the_pages_ticket_is_pinged_renamed_and_revoked() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    site.visit_top("invite").expect("inviting");
    site.page.click("button", "Make a ticket").expect("made");
    site.page
        .wait("the code", "document.querySelector('svg.qr path').getAttribute('d').length > 1000")
        .expect("drawn");
    let ticket = site.page.eval("document.querySelector('textarea').value").expect("asked");
    let mut desk = Peer::bare(&Machine::Loopback, "desk").expect("a machine");
    desk.join_by(ticket.as_str().expect("a ticket")).expect("joined");
    site.visit_top("peers").expect("the machines");
    site.page.shows("connected").expect("it is there");
    let name = site.page.eval("document.querySelectorAll('li.card h2')[1].textContent").expect("asked");
    let name = name.as_str().expect("a name").trim().to_owned();
    site.page.click("button", &format!("Ping {name}")).expect("pinged");
    site.page.shows("Answered in").expect("it answers");
    site.page.click("button", &format!("Rename {name}")).expect("asked");
    site.page.fill("input", "Name", "<b>desk</b>").expect("typed");
    site.page.press("Enter").expect("renamed");
    site.page.shows("<b>desk</b>").expect("the new name, as text");
    site.page.click("button", "Revoke <b>desk</b>").expect("asked");
    site.page.click("button", "Revoke it for good").expect("confirmed");
    site.page.shows("revoked").expect("it is out");
    desk.passed();
    site.end();
}

#[test]
fn a_token_is_made_shown_once_works_and_is_revoked() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    site.laptop.write("a", "secret").expect("written");
    site.visit_top("tokens").expect("the tokens");
    site.page.fill("input", "What it is for", "script <i>").expect("typed");
    site.page.click("button", "Make a token").expect("made");
    site.page.shows("It is shown this once").expect("shown");
    let token = site.page.eval("document.querySelector('input.secret').value").expect("asked");
    let token = token.as_str().expect("a token").to_owned();
    let other = site.browser.page(true).expect("a page without a session");
    other.open(&site.url).expect("the page");
    let read = format!(
        "fetch('/stores/{}/keys/a', {{ headers: {{ Authorization: 'Bearer {token}' }} }}).then((r) => r.text())",
        site.store
    );
    assert_eq!(other.eval(&read).expect("asked"), "secret", "it works");
    site.page.click("button", "I have it").expect("closed");
    site.page.click("button", "Revoke script <i>").expect("asked");
    site.page.click("button", "Revoke it").expect("confirmed");
    site.page.shows("revoked").expect("listed as such");
    let secret = token.split(':').nth(1).expect("a secret");
    assert_eq!(
        site.page.eval(&format!("document.body.innerHTML.includes('{secret}')")).expect("asked"),
        false
    );
    assert_ne!(other.eval(&read).expect("asked"), "secret", "it works no more");
    site.end();
}
