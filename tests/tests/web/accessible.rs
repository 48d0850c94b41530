//! axe-core on every view, wide and narrow, light and dark: contrast, names, roles, order. And nothing sticks out of a phone's
//! screen.

use lattice_tests::browser::Scheme;

use crate::browsers;
use crate::site::{Site, apart};

const AXE: &str = include_str!("../../vendor/axe-core/axe.min.js");

/// What is wrong by axe's rules, a line each.
fn violations(site: &Site) -> Vec<String> {
    if site.page.eval("typeof axe").expect("asked") != "object" {
        site.page.eval(AXE).expect("axe is loaded");
    }
    let js = "axe.run(document, { resultTypes: ['violations'] }).then((r) => \
              r.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html.slice(0, 200)}: ${n.failureSummary}`)))";
    let found = site.page.eval(js).expect("axe runs");
    found.as_array().expect("a list").iter().map(ToString::to_string).collect()
}

fn check(site: &Site, what: &str) {
    for width in [360, 1280] {
        for scheme in [Scheme::Light, Scheme::Dark] {
            site.page.looks(width, scheme).expect("looks");
            let wide = site.page.eval("document.documentElement.scrollWidth - innerWidth").expect("measured");
            assert!(wide.as_i64().is_some_and(|n| n <= 0), "{what} is {wide} px too wide at {width} px");
            let found = violations(site);
            assert!(found.is_empty(), "{what} at {width} px, {scheme:?}:\n{}", found.join("\n"));
        }
    }
    site.page.looks(1280, Scheme::Light).expect("looks");
}

#[test]
fn axe_finds_nothing_in_any_view() {
    if !browsers() {
        return;
    }
    let mut site = Site::start().expect("a page");
    let mut desk = site.desk().expect("another machine");
    let long = "a_name_longer_than_any_phone_is_wide_without_a_place_to_break_".repeat(3);
    site.laptop.write("plan.md", "base\nsame\n").expect("written");
    site.laptop.write(&long, [0, 1, 2, 3]).expect("written");
    desk.awaits(&long, [0, 1, 2, 3], crate::site::SOON).expect("read");
    apart(&mut site.laptop, &mut desk, |laptop, desk| {
        laptop.write("plan.md", "laptop\nsame\n")?;
        desk.write("plan.md", "desk\nsame\n")
    })
    .expect("written apart");
    check_signed_out(&site);
    site.sign_in(&site.page).expect("signed in");
    site.page.complaints();
    for (view, ready) in [
        ("", "1 conflict"),
        ("peers", "Round trip"),
        ("invite", "Make a ticket"),
        ("tokens", "New token"),
        ("nowhere", "There is nothing here"),
        ("store/files/", "2 versions"),
        ("store/file/plan.md", "Compare them and choose"),
        (&format!("store/file/{long}"), "first bytes"),
        ("store/history/plan.md", "3 versions"),
        ("store/conflicts/", "plan.md"),
        ("store/conflicts/plan.md", "What differs"),
        ("store/events/", "live"),
    ] {
        match view.strip_prefix("store/") {
            Some(view) => site.visit(view).expect("there"),
            None => site.visit_top(view).expect("there"),
        }
        site.page.shows(ready).expect(view);
        check(&site, view);
    }
    site.visit("conflicts/plan.md").expect("the conflict");
    site.page.click("button", "Merge them").expect("merging");
    check(&site, "merging");
    site.visit("history/plan.md").expect("the history");
    site.page.click("button", "Compare the version").expect("comparing");
    site.page.shows("removed").expect("a diff");
    check(&site, "comparing");
    site.visit_top("invite").expect("inviting");
    site.page.click("button", "Make a ticket").expect("made");
    site.page.shows("The ticket").expect("shown");
    check(&site, "a ticket");
    site.page.complaints();
    desk.passed();
    site.end();
}

fn check_signed_out(site: &Site) {
    let other = site.browser.page(true).expect("a page without a session");
    other.open(&site.url).expect("the page");
    other.shows("Sign in").expect("it asks to sign in");
    other.eval(AXE).expect("axe is loaded");
    let found = other.eval("axe.run().then((r) => r.violations.map((v) => v.id))").expect("axe runs");
    assert_eq!(found, serde_json::json!([]), "signed out");
}
