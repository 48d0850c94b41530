//! A real conflict of two daemons, settled by clicking and checked through the mounts of both.

use crate::browsers;
use crate::site::{SOON, Site, apart, conflicts, settled};

const PLAN: &str = "# Plan\n\n- dig\n- sow\n- water\n\nTrees: 80\nFence: 120\n";
const LAPTOP: &str = "# Plan\n\n- dig\n- sow in March\n- water\n\nTrees: 95\nFence: 120\n";
const DESK: &str = "# Plan\n\n- dig\n- sow\n- water\n\nTrees: 140\nFence: 120\nGate: 60\n";

fn in_conflict() -> (Site, lattice_tests::fixture::Peer) {
    let mut site = Site::start().expect("a page");
    let mut desk = site.desk().expect("another machine");
    site.laptop.write("plan.md", PLAN).expect("written");
    desk.awaits("plan.md", PLAN, SOON).expect("read on the other");
    apart(&mut site.laptop, &mut desk, |laptop, desk| {
        laptop.write("plan.md", LAPTOP)?;
        desk.write("plan.md", DESK)
    })
    .expect("written apart");
    assert_eq!(conflicts(&site.laptop).expect("conflicts"), 1);
    site.sign_in(&site.page).expect("signed in");
    (site, desk)
}

#[test]
fn a_conflict_is_seen_compared_and_settled_by_picking_a_version() {
    if !browsers() {
        return;
    }
    let (site, mut desk) = in_conflict();
    site.page.complaints();
    site.page.shows("1 of 1 other machine has everything").expect("how far it has spread");
    site.page.click("a", "1 conflict").expect("the overview leads to it");
    site.page.click("a", "plan.md").expect("the list leads to it");
    site.page
        .shows("removed: - sow in March")
        .or_else(|_| site.page.shows("added: - sow in March"))
        .expect("a diff");
    site.page.shows("Gate: 60").expect("the other side");
    site.page.click("button", "Keep this version, by desk").expect("picked");
    site.page.shows("The conflict is settled").expect("the page says so");
    settled([&site.laptop, &desk], "plan.md", DESK).expect("through both mounts");
    desk.passed();
    site.end();
}

#[test]
fn a_conflict_is_settled_by_merging_and_editing() {
    if !browsers() {
        return;
    }
    let (site, mut desk) = in_conflict();
    site.page.complaints();
    site.visit("conflicts/plan.md").expect("the conflict");
    site.page.click("button", "Merge them").expect("merging");
    // The line that only the laptop changed and the one that only the desk added are there without being asked for.
    site.page.shows("Both changed 1 place").expect("one question");
    site.page.click("label", "desk").expect("answered");
    let merged = "# Plan\n\n- dig\n- sow in March\n- water\n\nTrees: 140\nFence: 120\nGate: 60\n";
    let result = "document.querySelector('textarea').value";
    site.page.wait("the result", &format!("{result} === {}", serde_json::json!(merged))).expect("merged");
    let edited = format!("(both) {merged}");
    site.page.fill("textarea", "Result", &edited).expect("typed");
    site.page.shows("You have edited the result").expect("it says so");
    site.page.click("button", "Save as the only version").expect("saved");
    site.page.shows("The conflict is settled").expect("the page says so");
    settled([&site.laptop, &desk], "plan.md", &edited).expect("through both mounts");
    desk.passed();
    site.end();
}

#[test]
fn what_somebody_else_wrote_meanwhile_is_not_overwritten() {
    if !browsers() {
        return;
    }
    let (site, mut desk) = in_conflict();
    site.page.complaints();
    site.visit("conflicts/plan.md").expect("the conflict");
    site.page.click("button", "Merge them").expect("merging");
    site.page.shows("Both changed 1 place").expect("the question");
    desk.write("plan.md", "something new\n").expect("written");
    site.laptop.awaits("plan.md", "something new\n", SOON).expect("it comes");
    site.page.click("button", "Save as the only version").expect("tried");
    site.page.shows("Couldn't save plan.md").expect("refused");
    site.page.shows("Somebody changed it meanwhile").expect("what to do");
    for peer in [&site.laptop, &desk] {
        peer.awaits("plan.md", "something new\n", SOON).expect("what was written stays");
    }
    desk.passed();
    // The refusal is a 412, which the console counts as an error.
    let complaints = site.page.complaints();
    assert!(complaints.iter().all(|c| c.contains("412")), "{complaints:#?}");
    site.end();
}
