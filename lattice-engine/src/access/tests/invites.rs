//! Records, proofs, refusals and tickets.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const GOLDEN: &str = include_str!("../../../tests/golden/invites.txt");

fn secret() -> Secret {
    Secret::new([0x42; 32])
}

fn ticket() -> Ticket {
    Ticket {
        genesis: founder().id,
        secret: secret(),
        expires_ms: 1_790_000_000_000,
        inviter: node(1),
        addresses: vec![Bytes::from_static(b"192.0.2.1:4242"), Bytes::from_static(b"[2001:db8::1]:4242")],
    }
}

/// The founder, who made the invite, and node 1.
fn members() -> Members {
    let mut h = History::new();
    h.act(0, &[], vec![add(1)]);
    h.fold()
}

fn record() -> InviteRecord {
    secret().record(node(0), 1000, 1)
}

/// Node 5 asks node 1 at `now_ms`, proving as if it were `joiner` and had asked `admitter`.
fn ask(
    record: Option<&InviteRecord>,
    members: &Members,
    (joiner, admitter): (u8, u8),
    now_ms: u64,
) -> Result<Admission, Refusal> {
    let proof = secret().prove(&root(), &node(joiner), &node(admitter));
    let proof = Proof::from_slice(&proof.to_bytes()).expect("its own bytes");
    admit(record, members, (&root(), &node(5), &node(1)), &proof, now_ms)
}

#[test]
fn who_holds_the_secret_is_let_in_until_it_expires() {
    let (record, members) = (record(), members());
    assert_eq!(ask(Some(&record), &members, (5, 1), 999), Ok(Admission::New(secret().id())));
    assert_eq!(ask(Some(&record), &members, (5, 1), 1000), Err(Refusal::Expired));
}

#[test]
fn a_proof_is_for_one_joiner_one_admitter_and_one_root_store() {
    let (record, members) = (record(), members());
    assert_eq!(ask(Some(&record), &members, (6, 1), 1), Err(Refusal::Forged), "another joiner's proof");
    assert_eq!(ask(Some(&record), &members, (5, 0), 1), Err(Refusal::Forged), "shown to another member");
    let proof = secret().prove(&other_store(), &node(5), &node(1));
    assert_eq!(
        admit(Some(&record), &members, (&root(), &node(5), &node(1)), &proof, 1),
        Err(Refusal::Forged),
        "for another root store"
    );
}

#[test]
fn what_the_root_store_holds_proves_nothing() {
    // A member that was revoked knows every record. It signs with a key of its own, naming the record's.
    let mut bytes = Secret::new([1; 32]).prove(&root(), &node(5), &node(1)).to_bytes();
    bytes[..32].copy_from_slice(record().key.as_bytes());
    let proof = Proof::from_slice(&bytes).expect("96 bytes");
    assert_eq!(proof.invite(), record().id());
    let refused = admit(Some(&record()), &members(), (&root(), &node(5), &node(1)), &proof, 1);
    assert_eq!(refused, Err(Refusal::Forged));
    assert_eq!(Proof::from_slice(&bytes[..95]), None);
    assert_eq!(Proof::from_slice(&[]), None);
}

#[test]
fn an_invite_counts_while_its_maker_is_a_member() {
    let members = members();
    assert_eq!(ask(None, &members, (5, 1), 1), Err(Refusal::Unknown));
    let strangers = secret().record(node(9), 1000, 1);
    assert_eq!(ask(Some(&strangers), &members, (5, 1), 1), Err(Refusal::Unknown));
    let other = Secret::new([1; 32]).record(node(0), 1000, 1);
    assert_eq!(ask(Some(&other), &members, (5, 1), 1), Err(Refusal::Unknown), "another invite's record");
}

#[test]
fn an_invite_is_used_up_and_who_was_let_in_may_ask_again() {
    let by = |n| Does::Add { node: node(n), invite: Some(secret().id()) };
    let mut h = History::new();
    let one = h.act(0, &[], vec![add(1), by(6)]);
    assert_eq!(ask(Some(&record()), &h.fold(), (5, 1), 1), Err(Refusal::UsedUp));
    let twice = secret().record(node(0), 1000, 2);
    assert_eq!(ask(Some(&twice), &h.fold(), (5, 1), 1), Ok(Admission::New(secret().id())));
    h.act(1, &[one], vec![by(5)]);
    assert_eq!(ask(Some(&record()), &h.fold(), (5, 1), 2000), Ok(Admission::Already));
    h.act(0, &[one], vec![revoke(5, 0)]);
    assert_eq!(ask(Some(&twice), &h.fold(), (5, 1), 1), Err(Refusal::Revoked));
}

#[test]
fn a_record_has_one_form() {
    let record = record();
    let value = record.to_value();
    assert_eq!(InviteRecord::from_value(value.as_bytes(), node(0)), Some(record));
    for bad in [
        value.replace("uses 1", "uses 01"),
        value.replace("uses 1", "uses -1"),
        value.replace("uses 1\n", "uses 1"),
        value.replace("invite 1", "invite 2"),
        format!("{value}\n"),
        value.replace("expires", "expired"),
        " ".repeat(1 << 20),
        String::new(),
    ] {
        assert_eq!(InviteRecord::from_value(bad.as_bytes(), node(0)), None, "{bad:.100}");
    }
    assert_eq!(InviteRecord::from_value(&[0xff; 100], node(0)), None);
}

#[test]
fn secrets_are_not_printed() {
    let shown = format!("{:?} {:?}", secret(), ticket());
    assert!(!shown.contains("42, ") && !shown.contains("4242424242") && !shown.contains("66, 66"), "{shown}");
}

#[test]
fn a_ticket_reads_back_as_people_copy_it() {
    let text = ticket().to_text();
    assert!(
        text.starts_with("lattice1") && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    );
    assert_eq!(Ticket::parse(&text), Ok(ticket()));
    let copied = format!(" {}\n{} ", text[..40].to_uppercase(), &text[40..]);
    assert_eq!(Ticket::parse(&copied), Ok(ticket()));
    assert_eq!(Ticket::parse_at(&text, 1_790_000_000_000 - 1), Ok(ticket()));
    assert_eq!(Ticket::parse_at(&text, 1_790_000_000_000), Err(TicketError::Expired));
    assert_eq!(ticket().root(), root());
}

#[test]
fn what_is_no_ticket_says_why() {
    let text = ticket().to_text();
    for bad in [
        "",
        "hello",
        "lattic",
        "lattice",
        "lattice!abc",
        "https://example.org/lattice1",
        &"x".repeat(1 << 20),
    ] {
        assert_eq!(Ticket::parse(bad), Err(TicketError::NotATicket), "{bad:.80}");
    }
    assert_eq!(Ticket::parse(&text.replacen('1', "2", 1)), Err(TicketError::Newer('2')));
    for bad in
        [&text[..text.len() - 1], &text[..60], "lattice1", "lattice1aa", "lattice10000", "lattice1\u{e9}"]
    {
        assert_eq!(Ticket::parse(bad), Err(TicketError::Damaged), "{bad}");
    }
}

#[test]
fn addresses_are_bounded() {
    let many = (0..40u8).map(|n| Bytes::from(vec![n; 3])).chain([Bytes::new(), Bytes::from(vec![1; 300])]);
    let ticket = Ticket { addresses: many.collect(), ..ticket() };
    let read = Ticket::parse(&ticket.to_text()).expect("valid");
    assert_eq!(read.addresses, ticket.addresses[..ticket::MAX_ADDRESSES]);
}

#[test]
fn the_bytes_are_those_of_the_first_version() {
    let proof = secret().prove(&root(), &node(5), &node(1));
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let lines = [
        format!("secret {}", hex(&[0x42; 32])),
        format!("invite {}", secret().id()),
        format!("record {}", record().to_value().trim_end().replace('\n', ", ")),
        format!("proof {}", hex(&proof.to_bytes())),
        format!("ticket {}", ticket().to_text()),
    ];
    assert_eq!(lines.join("\n") + "\n", GOLDEN, "a difference is a new version of the format");
}

proptest! {
    /// One character changed, anywhere: it is seen.
    #[test]
    fn an_altered_ticket_is_refused(at in any::<prop::sample::Index>(), to in "[a-z2-7]") {
        let text = ticket().to_text();
        let at = 8 + at.index(text.len() - 8);
        prop_assume!(text[at..=at] != *to);
        let altered = format!("{}{to}{}", &text[..at], &text[at + 1..]);
        prop_assert_eq!(Ticket::parse(&altered), Err(TicketError::Damaged));
    }

    #[test]
    fn no_text_panics(text in "\\PC*", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Ticket::parse(&text);
        let _ = Ticket::parse(&format!("lattice1{text}"));
        let _ = InviteRecord::from_value(&bytes, node(0));
        let _ = Proof::from_slice(&bytes);
    }
}
