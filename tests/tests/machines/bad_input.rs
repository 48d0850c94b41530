//! Tickets that don't let anybody in: what is said, the exit code, and that nothing is left behind by it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use lattice_engine::access::{Secret, Ticket};
use lattice_tests::fixture::{Machine, Peer, needs, until};

use super::SOON;

/// Joins in vain: by the exit code, with these words.
fn refused(by: &Peer, ticket: &str, code: i32, words: &[&str]) -> Result<()> {
    let said = by.lattice(["join", "-"]).input(ticket).run()?;
    let told = said.stderr.to_lowercase();
    let about = format!("exit code {} and {:?}", said.code(), said.stderr);
    ensure!(said.code() == code, "{about}; not {code}");
    ensure!(said.stdout.is_empty(), "a refusal on stdout: {:?}", said.stdout);
    words.iter().try_for_each(|word| {
        ensure!(told.contains(word), "{about} says nothing of {word:?}");
        Ok(())
    })
}

/// Of the command line: 1 error, 2 usage, 12 not authorised.
const ERROR: i32 = 1;
const USAGE: i32 = 2;
const NOT_AUTHORISED: i32 = 12;
const TIMED_OUT: i32 = 24;

#[test]
fn what_is_no_ticket_is_told_from_what_is_damaged() -> Result<()> {
    if !needs(&[]) {
        return Ok(());
    }
    let mut a = Peer::found(&Machine::Loopback, "A")?;
    let mut b = Peer::bare(&Machine::Loopback, "B")?;
    let ticket = a.invite()?;
    for none in ["", "hello", "https://example.org/", "\u{0}\u{1}\u{ff}", &"x".repeat(100_000)] {
        refused(&b, none, USAGE, &["ticket"])?;
    }
    let mut altered: Vec<char> = ticket.chars().collect();
    let middle = altered.len() / 2;
    altered[middle] = if altered[middle] == 'a' { 'b' } else { 'a' };
    refused(&b, &altered.iter().collect::<String>(), USAGE, &["damaged"])?;
    refused(&b, &ticket[..ticket.len() - 3], USAGE, &["damaged"])?;
    let newer = ticket.replacen("lattice1", "lattice2", 1);
    refused(&b, &newer, USAGE, &["newer"])?;
    ensure!(!b.home().join("data/root").exists(), "a bad ticket has made a data directory");
    // The same ticket, as somebody might have typed it from paper.
    let spaced: String = ticket.to_uppercase().chars().flat_map(|c| [c, ' ']).collect();
    b.join_by(&spaced).context("upper case and spaces do no harm")?;
    a.passed();
    b.passed();
    Ok(())
}

#[test]
fn a_ticket_that_was_used_or_forged_or_has_expired_lets_nobody_in() -> Result<()> {
    if !needs(&[]) {
        return Ok(());
    }
    let mut a = Peer::found(&Machine::Loopback, "A")?;
    let mut b = Peer::bare(&Machine::Loopback, "B")?;
    let mut c = Peer::bare(&Machine::Loopback, "C")?;
    let used = a.invite()?;
    b.join_by(&used)?;
    refused(&c, &used, NOT_AUTHORISED, &["used"])?;
    let brief = a.lattice(["invite", "--expires", "1s"]).ok()?.trim().to_owned();
    let expires = UNIX_EPOCH + Duration::from_millis(Ticket::parse(&brief)?.expires_ms);
    until("the ticket has expired", SOON, || Ok((SystemTime::now() > expires).then_some(())))?;
    refused(&c, &brief, NOT_AUTHORISED, &["expired"])?;
    refused(&c, &forged(&a.invite()?)?, NOT_AUTHORISED, &["did not let"])?;
    // The inviter has neither a member nor a store more than it should.
    let list = a.json(["peer", "list"])?;
    ensure!(list["peers"].as_array().map(Vec::len) == Some(2), "{list}");
    ensure!(!c.log().contains("panicked") && !a.log().contains("panicked"), "something panicked");
    let fresh = a.invite()?;
    c.join_by(&fresh).context("a good ticket after bad ones")?;
    [&mut a, &mut b, &mut c].into_iter().for_each(Peer::passed);
    Ok(())
}

/// The same with another secret: well formed, by somebody who wasn't given it.
fn forged(ticket: &str) -> Result<String> {
    let mut ticket = Ticket::parse(ticket)?;
    ticket.secret = Secret::new([7; 32]);
    Ok(ticket.to_text())
}

#[test]
fn a_data_directory_that_is_there_is_not_given_up_for_a_ticket() -> Result<()> {
    if !needs(&[]) {
        return Ok(());
    }
    let mut a = Peer::found(&Machine::Loopback, "A")?;
    let mut b = Peer::found(&Machine::Loopback, "B")?;
    b.write("mine", "b")?;
    refused(&b, &a.invite()?, ERROR, &["data directory"])?;
    b.stop()?;
    refused(&b, &a.invite()?, ERROR, &["another data directory"])?;
    b.mount()?;
    b.awaits("mine", "b", SOON)?;
    a.passed();
    b.passed();
    Ok(())
}

#[test]
fn an_inviter_that_is_not_there_is_waited_for_no_longer_than_is_useful() -> Result<()> {
    if !needs(&[]) {
        return Ok(());
    }
    let mut a = Peer::found(&Machine::Loopback, "A")?;
    let mut b = Peer::bare(&Machine::Loopback, "B")?;
    let ticket = a.invite()?;
    a.stop()?;
    refused(&b, &ticket, TIMED_OUT, &["can't be reached"])?;
    a.mount()?;
    b.join_by(&ticket).context("the same ticket, when the inviter is there again")?;
    a.passed();
    b.passed();
    Ok(())
}
