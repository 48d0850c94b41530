//! A revocation, on the pages of a machine that stays and of the one that must go.

use lattice_tests::fixture::{Machine, Peer};

use crate::browsers;
use crate::site::{SOON, Site};

/// The desk revokes the tablet without having seen what that wrote last; the laptop, whose page is open, has.
#[test]
fn what_counts_no_more_goes_from_every_view_that_is_open() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    let mut desk = site.desk().expect("another machine");
    let mut tablet = Peer::join(&Machine::Loopback, "tablet", &site.laptop).expect("a third");
    tablet.write("plan.md", "as it was").expect("written");
    desk.awaits("plan.md", "as it was", SOON).expect("read on the desk");
    desk.stop().expect("stopped");
    tablet.write("plan.md", "as the tablet has it").expect("written");
    tablet.write("late.md", "too late").expect("written");
    for (name, text) in [("plan.md", "as the tablet has it"), ("late.md", "too late")] {
        site.laptop.awaits(name, text, SOON).expect("read on the laptop");
    }
    let view = |at: &str, text: &str| {
        let page = site.browser.window().expect("a window");
        page.open(&format!("{}/#/store/{}/{at}", site.url, site.store)).expect("a view");
        page.shows(text).expect("what was written last");
        page
    };
    let files = view("files/", "late.md");
    let (plan, late) = (view("file/plan.md", "as the tablet has it"), view("file/late.md", "too late"));
    let events = view("events/", "wrote late.md");
    events.wait("live", "test.find('[role=status]', 'live') !== null").expect("it follows");

    // Without a daemon, which would take in what it lacks first.
    desk.lattice(["peer", "revoke", &tablet.id().expect("an id")]).ok().expect("revoked");
    desk.mount().expect("mounted again");
    files.wait("its end", "!test.text().includes('late.md')").expect("the list is another");
    files.shows("plan.md").expect("what counts is listed");
    plan.shows("as it was").expect("the version that counts");
    late.shows("no such key").expect("it says that it is gone");
    assert!(!late.text().expect("a text").contains("too late"), "and shows nothing of it");
    events.shows("Events don't tell all here: members were revoked").expect("a gap");
    events.wait("what counts, below it", "!test.text().includes('late.md')").expect("it is read again");
    for page in [&files, &plan, &events] {
        assert!(page.complaints().is_empty());
    }
    desk.passed();
    tablet.passed();
    site.end();
}

#[test]
fn the_page_of_a_revoked_machine_says_so_and_what_to_do_next() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    let mut desk = site.desk().expect("another machine");
    site.visit_top("").expect("the overview");
    site.page.shows("connected").expect("all is well");
    assert!(!site.page.text().expect("a text").contains("revoked"));
    desk.lattice(["peer", "revoke", &site.laptop.id().expect("an id")]).ok().expect("revoked");
    for view in ["Overview", "Machines"] {
        site.page.click("header a", view).expect("a view");
        site.page.wait(view, &format!("test.find('h1', '{view}') !== null")).expect("it is there");
        // By those who have cut it off, or by the entry that says so, where that has come.
        let whom = "/This node was revoked( by desk|: so say .+ [(]desk[)])/.test(test.text())";
        site.page.wait("by whom", whom).expect("it says so");
        for part in ["stays here", "lattice --home DIR join TICKET"] {
            site.page.shows(part).unwrap_or_else(|e| panic!("{view} says {part:?}: {e:#}"));
        }
    }
    site.page.click("header a", "Invite").expect("a view");
    site.page.shows("Invite from another machine").expect("its tickets are worth nothing");
    assert!(!site.page.text().expect("a text").contains("Make a ticket"));
    desk.passed();
    site.end();
}
