//! Everything by keyboard: what has the focus can be seen, nothing traps it but a dialog, and a dialog gives it back.

use std::collections::BTreeSet;

use crate::browsers;
use crate::site::Site;

/// More presses of Tab than any view here has places for.
const MANY: usize = 60;

/// Presses Tab until the focus is at its beginning again; gives what it passed, in order.
fn walk(site: &Site) -> Vec<String> {
    let mut passed = Vec::new();
    for _ in 0..MANY {
        site.page.press("Tab").expect("pressed");
        let at = site.page.eval("test.focus()").expect("asked");
        if at.is_null() {
            break;
        }
        let what =
            format!("{} {}", at["tag"].as_str().unwrap_or_default(), at["name"].as_str().unwrap_or_default());
        assert_eq!(at["marked"], true, "one sees that {what} has the focus");
        assert!(at["visible"] == true && at["name"] != "", "one sees {what}, and it has a name");
        if passed.first() == Some(&what) {
            break;
        }
        passed.push(what);
    }
    passed
}

/// What could be clicked on, by name.
fn clickable(site: &Site) -> BTreeSet<String> {
    let js = "[...document.querySelectorAll('a[href], button:not([disabled]), input, select, textarea, [tabindex=\"0\"]')] \
              .filter((e) => e.tabIndex >= 0 && e.type !== 'radio').map((e) => `${e.localName} ${test.nameOf(e)}`)";
    let all = site.page.eval(js).expect("asked");
    all.as_array().expect("a list").iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

#[test]
fn every_view_is_walked_by_tab_and_the_focus_is_seen() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    site.laptop.write("note.txt", "one\n").expect("written");
    site.laptop.write("note.txt", "two\n").expect("written");
    for (view, ready) in [
        ("", "This machine"),
        ("peers", "this machine"),
        ("invite", "Make a ticket"),
        ("tokens", "New token"),
        ("store/files/", "note.txt"),
        ("store/file/note.txt", "two"),
        ("store/history/note.txt", "2 versions"),
        ("store/conflicts/", "No conflicts"),
        ("store/events/", "live"),
    ] {
        match view.strip_prefix("store/") {
            Some(view) => site.visit(view).expect("there"),
            None => site.visit_top(view).expect("there"),
        }
        site.page.shows(ready).expect(view);
        let passed = walk(&site);
        assert_eq!(passed.first().map(String::as_str), Some("a Skip to the content"), "{view}");
        let missed: Vec<_> = clickable(&site).into_iter().filter(|what| !passed.contains(what)).collect();
        assert!(missed.is_empty(), "{view}: never reached: {missed:#?}; passed {passed:#?}");
    }
    site.end();
}

#[test]
fn a_store_is_made_and_a_view_changed_without_a_mouse() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    let focus = |name: &str| {
        for _ in 0..MANY {
            site.page.press("Tab").expect("pressed");
            if site.page.eval("test.focus()?.name").expect("asked") == name {
                return;
            }
        }
        panic!("{name} is never reached");
    };
    focus("Skip to the content");
    site.page.press("Enter").expect("skipped");
    assert_eq!(site.page.eval("document.activeElement.localName").expect("asked"), "h1");
    focus("New store");
    site.page.press("Enter").expect("opened");
    site.page
        .wait("the field", "document.activeElement.matches('dialog input')")
        .expect("the focus is in the dialog");
    // Nothing behind it is reached.
    for _ in 0..6 {
        site.page.press("Tab").expect("pressed");
        let outside = "document.activeElement !== document.body && !document.activeElement.closest('dialog')";
        assert_eq!(site.page.eval(outside).expect("asked"), false, "the focus stays in the dialog");
    }
    site.page.press("Escape").expect("closed");
    site.page
        .wait("the focus back", "document.activeElement.textContent === 'New store'")
        .expect("given back");
    site.page.press("Enter").expect("opened");
    site.page.wait("the field", "document.activeElement.matches('dialog input')").expect("the focus");
    site.page.enter("papers").expect("typed");
    site.page.press("Enter").expect("made");
    site.page.wait("the store", "test.find('a', 'papers') !== null").expect("made");
    focus("papers");
    site.page.press("Enter").expect("followed");
    let title =
        "document.activeElement.localName === 'h1' && document.activeElement.textContent === 'papers'";
    site.page.wait("the title's focus", title).expect("a new view begins at its title");
    assert_eq!(site.page.eval("document.title").expect("asked"), "papers · Lattice");
    site.end();
}
