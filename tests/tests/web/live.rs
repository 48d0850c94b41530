//! What happens elsewhere shows by itself: in a list, in the events, and after the daemon was away.

use crate::browsers;
use crate::relay::Relay;
use crate::site::Site;

#[test]
fn what_is_written_in_the_mount_shows_without_loading_again() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    site.visit("files/").expect("the list");
    site.page.shows("Nothing is here yet").expect("empty");
    site.laptop.write("new.txt", "hello").expect("written");
    site.page.wait("the new file", "test.find('a.name', 'new.txt') !== null").expect("listed");
    site.page.click("a.name", "new.txt").expect("opened");
    site.page.shows("hello").expect("its text");
    site.laptop.write("new.txt", "changed").expect("written");
    site.page.shows("changed").expect("its new text");
    site.end();
}

#[test]
fn the_events_go_on_after_the_line_was_cut_and_miss_nothing() {
    if !browsers() {
        return;
    }
    let mut site = Site::start().expect("a page");
    site.laptop.write("before", "1").expect("written");
    let daemon = site.url.trim_start_matches("http://").parse().expect("an address");
    let relay = Relay::to(daemon).expect("a line");
    site.url = format!("http://{}", relay.at);
    site.visit("events/").expect("the events");
    site.page.shows("before").expect("what was before");
    let live = "test.find('[role=status]', 'live') !== null";
    site.page.wait("live", live).expect("it follows");
    site.laptop.write("while-here", "2").expect("written");
    site.page.shows("while-here").expect("it shows");
    assert!(site.page.complaints().is_empty(), "nothing went wrong so far");

    relay.cut();
    site.page.wait("not live", &format!("!({live})")).expect("the page says so");
    site.laptop.write("while-away", "3").expect("written");
    relay.mend();
    site.page.shows("while-away").expect("nothing is missed");
    site.page.wait("live", live).expect("it follows again");
    site.laptop.write("after", "4").expect("written");
    site.page.shows("wrote after").expect("it shows");
    // What couldn't be asked for meanwhile counts as errors.
    site.page.complaints();
    site.end();
}

#[test]
fn after_a_restart_the_page_asks_to_sign_in_and_goes_on_where_it_was() {
    if !browsers() {
        return;
    }
    let mut site = Site::start().expect("a page");
    site.laptop.write("before", "1").expect("written");
    site.visit("files/").expect("the list");
    site.page.shows("before").expect("listed");
    assert!(site.page.complaints().is_empty(), "nothing went wrong so far");
    site.laptop.stop().expect("stopped");
    site.laptop.mount().expect("started again");
    site.laptop.write("since", "2").expect("written");
    site.page.open(&format!("{}/#/tokens", site.url)).expect("another view");
    site.page.shows("lattice web").expect("it asks to sign in");
    let other = site.browser.page(false).expect("another tab");
    site.sign_in(&other).expect("signed in there");
    site.page.open(&format!("{}/#/store/{}/files/", site.url, site.store)).expect("back");
    site.page.click("button", "I have opened it").expect("asked again");
    site.page.shows("since").expect("it goes on");
    site.page.click("button", "Sign out").expect("signed out");
    site.page.shows("lattice web").expect("it asks to sign in");
    let status = other.eval("fetch('/v1/session').then((r) => r.status)").expect("asked");
    assert_eq!(status, 401, "the session has ended for every tab");
    site.page.complaints();
    site.end();
}

/// In place of the browser's own: says that something was missed, and ends for good.
const REFUSED: &str = "globalThis.Real = EventSource; globalThis.EventSource = class { \
    static CLOSED = 2; readyState = 2; close() {} \
    addEventListener(kind, told) { if (kind === 'gap') setTimeout(() => told({ data: '{\"reason\":\"a <b>gap</b>\"}' }), 10); } \
    set onerror(told) { setTimeout(() => told({}), 20); } }";

#[test]
fn a_gap_is_shown_and_a_refused_stream_asked_for_again_from_where_it_ended() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    site.laptop.write("before", "1").expect("written");
    site.visit("events/").expect("the events");
    site.page.wait("live", "test.find('[role=status]', 'live') !== null").expect("it follows");
    site.page.click("button", "Pause").expect("paused");
    site.page.shows("paused").expect("it says so");
    site.page.eval(REFUSED).expect("replaced");
    site.page.click("button", "Go on").expect("going on");
    site.page.shows("Events don't tell all here: a <b>gap</b>").expect("the gap, as text");
    site.page.shows("again in").expect("it says when it tries again");
    site.laptop.write("meanwhile", "2").expect("written");
    site.page.eval("globalThis.EventSource = Real").expect("put back");
    site.page.shows("wrote meanwhile").expect("nothing is missed");
    site.end();
}

#[test]
fn a_cursor_that_the_log_does_not_have_is_a_gap() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    let js = format!(
        "import('/lib/live.js').then(({{ Follower }}) => new Promise((done) => {{ \
           const f = new Follower('{}', {{ since: '7f.ffff', onEntry() {{}}, onState() {{}}, onGap(why) {{ f.stop(); done(why); }} }}); \
           f.start(); }}))",
        site.store
    );
    let why = site.page.eval(&js).expect("an answer");
    assert!(why.as_str().is_some_and(|why| why.contains("beyond the log's end")), "{why}");
    site.end();
}
