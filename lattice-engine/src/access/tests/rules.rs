//! The rules of the fold, one history each.

use super::*;

#[test]
fn the_founder_is_the_first_member() {
    let members = History::new().fold();
    assert_eq!(active(&members), [0]);
    assert_eq!(members.get(&node(0)).map(|m| m.added_by), Some(node(0)));
}

#[test]
fn a_member_adds_members_and_a_stranger_adds_nobody() {
    let mut h = History::new();
    let one = h.act(0, &[], vec![add(1)]);
    h.act(1, &[one], vec![add(2)]);
    h.act(8, &[one], vec![add(9)]);
    // Not a member yet as far as this act has seen.
    h.act(2, &[one], vec![add(5)]);
    let members = h.fold();
    assert_eq!(active(&members), [0, 1, 2]);
    assert_eq!(members.get(&node(2)).map(|m| m.added_by), Some(node(1)));
}

#[test]
fn who_is_revoked_adds_nobody_that_its_revoker_has_not_seen() {
    let mut h = History::new();
    let one = h.act(0, &[], vec![add(1)]);
    let seen = h.act(1, &[one], vec![add(2)]);
    h.act(0, &[seen], vec![revoke(1, 5)]);
    // Written after it was revoked, dated by nothing that came later.
    h.act(1, &[], vec![add(3), revoke(0, 0)]);
    let members = h.fold();
    assert_eq!(active(&members), [0, 2], "what the revoker saw stays; what it did not see doesn't count");
    assert!(
        matches!(members.get(&node(1)).map(|m| &m.state), Some(MemberState::Revoked { by, .. }) if *by == node(0))
    );
    assert_eq!(members.get(&node(3)), None);
}

#[test]
fn of_two_who_revoke_each_other_the_one_added_first_stays() {
    for (first, second) in [(1, 2), (2, 1)] {
        let mut h = History::new();
        let one = h.act(0, &[], vec![add(first)]);
        let two = h.act(0, &[], vec![add(second)]);
        h.act(second, &[one, two], vec![revoke(first, 0)]);
        h.act(first, &[one, two], vec![revoke(second, 0)]);
        assert_eq!(active(&h.fold()), if first == 1 { [0, 1] } else { [0, 2] });
    }
}

#[test]
fn a_revocation_that_has_seen_the_other_one_does_not_count() {
    let mut h = History::new();
    let one = h.act(0, &[], vec![add(1), add(2)]);
    let by_junior = h.act(2, &[one], vec![revoke(1, 0)]);
    // Node 1 knows that it was revoked: its own revocation comes after.
    h.act(1, &[by_junior], vec![add(4)]);
    let members = h.fold();
    assert_eq!(active(&members), [0, 2]);
}

#[test]
fn in_a_circle_of_three_the_revocation_by_the_one_added_first_counts() {
    let mut h = History::new();
    let all: Vec<usize> = (1..=3).map(|n| h.act(0, &[], vec![add(n)])).collect();
    h.act(1, &all, vec![revoke(2, 0)]);
    h.act(2, &all, vec![revoke(3, 0)]);
    h.act(3, &all, vec![revoke(1, 0)]);
    assert_eq!(active(&h.fold()), [0, 1, 3]);
}

#[test]
fn a_circle_through_those_who_were_added_meanwhile_is_broken_open_too() {
    // 1 adds 3 and 2 adds 4; 3 revokes 2 and 4 revokes 1: each revocation takes the other's member away.
    let mut h = History::new();
    let both = h.act(0, &[], vec![add(1), add(2)]);
    let three = h.act(1, &[both], vec![add(3)]);
    let four = h.act(2, &[both], vec![add(4)]);
    h.act(3, &[three], vec![revoke(2, 0)]);
    h.act(4, &[four], vec![revoke(1, 0)]);
    assert_eq!(active(&h.fold()), [0, 1, 3], "3 was added before 4");
}

#[test]
fn the_founder_can_be_revoked() {
    let mut h = History::new();
    let one = h.act(0, &[], vec![add(1)]);
    h.act(1, &[one], vec![revoke(0, 4)]);
    h.act(0, &[], vec![add(5)]);
    assert_eq!(active(&h.fold()), [1]);
}

#[test]
fn a_revoked_id_is_no_member_again() {
    let mut h = History::new();
    let one = h.act(0, &[], vec![add(1)]);
    let gone = h.act(0, &[one], vec![revoke(1, 4)]);
    h.act(0, &[gone], vec![add(1)]);
    assert_eq!(active(&h.fold()), [0]);
}

#[test]
fn of_concurrent_revocations_the_lowest_cutoff_counts_until_one_has_seen_them_all() {
    let mut h = History::new();
    let all = h.act(0, &[], vec![add(1), add(2), add(3)]);
    let high = h.act(1, &[all], vec![revoke(3, 9)]);
    let low = h.act(2, &[all], vec![revoke(3, 4)]);
    let limit = |h: &History| {
        let membership = Membership::of(root(), &h.fold());
        membership.limit(&other_store(), &node(3))
    };
    assert_eq!(limit(&h), Limit::UpTo(cutoff(3, 4)));
    h.act(0, &[high, low], vec![revoke(3, 7)]);
    assert_eq!(limit(&h), Limit::UpTo(cutoff(3, 7)));
}

#[test]
fn a_store_that_a_revocation_does_not_list_keeps_nothing() {
    let mut h = History::new();
    let one = h.act(0, &[], vec![add(1)]);
    h.act(0, &[one], vec![revoke(1, 9)]);
    let membership = Membership::of(root(), &h.fold());
    let store = StoreId([9; 16]);
    assert_eq!(membership.judge(&store, &node(1), 1, &entry_id(1, 1)), Verdict::Beyond);
    assert_eq!(
        membership.judge(&store, &node(1), 0, &entry_id(1, 0)),
        Verdict::Valid,
        "a genesis is the store"
    );
}

#[test]
fn entries_are_judged_by_their_place_in_the_chain() {
    let mut h = History::new();
    let one = h.act(0, &[], vec![add(1)]);
    h.act(0, &[one], vec![revoke(1, 3)]);
    let membership = Membership::of(root(), &h.fold());
    let judge = |author, seq, id| membership.judge(&other_store(), &node(author), seq, &id);
    let beyond = Verdict::Beyond;
    assert_eq!(judge(1, 2, entry_id(1, 2)), Verdict::Valid);
    assert_eq!(judge(1, 3, entry_id(1, 3)), Verdict::Valid);
    assert_eq!(judge(1, 3, entry_id(9, 3)), beyond, "another entry 3 than the one that was accepted");
    assert_eq!(judge(1, 4, entry_id(1, 4)), beyond);
    assert_eq!(judge(0, 99, entry_id(0, 99)), Verdict::Valid);
    assert_eq!(judge(5, 1, entry_id(5, 1)), Verdict::UnknownAuthor);
    assert!(
        membership.contains(&node(0)) && !membership.contains(&node(1)) && !membership.contains(&node(5))
    );
    assert!(membership.has_revoked(&node(1)) && !membership.has_revoked(&node(5)));
    let everyone = Membership::everyone();
    assert_eq!(everyone.judge(&other_store(), &node(5), 1, &entry_id(5, 1)), Verdict::Valid);
    assert!(!everyone.contains(&node(5)), "who is no member of anything can't connect");
}

#[test]
fn in_the_root_store_the_acts_of_all_who_were_ever_named_travel() {
    let mut h = History::new();
    let one = h.act(0, &[], vec![add(1)]);
    h.act(0, &[one], vec![revoke(1, 3)]);
    h.act(1, &[], vec![add(2)]);
    let membership = Membership::of(root(), &h.fold());
    assert_eq!(membership.limit(&root(), &node(1)), Limit::UpTo(Cutoff::NOTHING.into()));
    assert_eq!(membership.limit(&root(), &node(2)), Limit::Nothing);
    let two = membership.judge(&other_store(), &node(2), 1, &entry_id(2, 1));
    assert_eq!(two, Verdict::Beyond, "there is nothing to wait for");
    for author in [0, 1, 2] {
        assert_eq!(membership.shared(&root(), &node(author)), Limit::All);
    }
    assert_eq!(membership.shared(&root(), &node(5)), Limit::Nothing);
    assert_eq!(membership.shared(&other_store(), &node(1)), Limit::UpTo(cutoff(1, 3)));
    assert_eq!(membership.shared(&other_store(), &node(2)), Limit::Nothing);
}

#[test]
fn a_guest_counts_in_one_store_and_may_be_revoked() {
    let mut h = History::new();
    let guest = |store| Does::Guest { store, node: node(6) };
    let vouched = h.act(0, &[], vec![guest(other_store()), guest(root())]);
    h.act(7, &[], vec![Does::Guest { store: other_store(), node: node(8) }]);
    let membership = Membership::of(root(), &h.fold());
    assert_eq!(membership.limit(&other_store(), &node(6)), Limit::All);
    assert_eq!(membership.limit(&root(), &node(6)), Limit::Nothing, "nobody is a guest of the root store");
    assert_eq!(membership.limit(&StoreId([1; 16]), &node(6)), Limit::Nothing);
    assert_eq!(membership.limit(&other_store(), &node(8)), Limit::Nothing, "a stranger vouches for nobody");
    assert!(!membership.contains(&node(6)));
    h.act(0, &[vouched], vec![revoke(6, 2)]);
    let membership = Membership::of(root(), &h.fold());
    assert_eq!(membership.limit(&other_store(), &node(6)), Limit::UpTo(cutoff(6, 2)));
}

#[test]
fn acts_beyond_the_bound_of_an_author_are_left_out_and_the_others_count() {
    let mut h = History::new();
    let one = h.act(0, &[], vec![add(1)]);
    for _ in 0..fold::MAX_ACTS {
        h.act(1, &[one], vec![add(2)]);
    }
    let last = h.act(1, &[one], vec![add(3)]);
    h.act(0, &[last], vec![revoke(1, 0), add(4)]);
    assert_eq!(active(&h.fold()), [0, 2, 4]);
}

#[test]
fn uses_of_an_invite_are_the_acts_by_it_that_count() {
    let invite = Secret::new([5; 32]).id();
    let by = |n| Does::Add { node: node(n), invite: Some(invite) };
    let mut h = History::new();
    let one = h.act(0, &[], vec![add(1)]);
    h.act(0, &[], vec![by(2)]);
    h.act(1, &[one], vec![by(3)]);
    h.act(9, &[one], vec![by(4)]);
    let members = h.fold();
    assert_eq!(members.uses(&invite), 2, "both admitted without seeing the other, and it shows");
    assert_eq!(members.get(&node(3)).and_then(|m| m.invite), Some(invite));
}

#[test]
fn the_digest_is_that_of_who_may_connect() {
    let mut h = History::new();
    let one = h.act(0, &[], vec![add(1)]);
    let digest = |h: &History| Membership::of(root(), &h.fold()).digest();
    let before = digest(&h);
    h.act(0, &[one], vec![Does::Guest { store: other_store(), node: node(6) }]);
    assert_eq!(digest(&h), before);
    h.act(0, &[one], vec![revoke(1, 3)]);
    assert_ne!(digest(&h), before);
}
