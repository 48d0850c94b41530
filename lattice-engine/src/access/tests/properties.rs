//! Random histories: the fold depends on the set of acts alone, and keeps its rules, checked against a slow reading of
//! them that shares no code with it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// One step: who writes, whom it concerns, what it does, and which earlier acts it has seen.
#[derive(Debug, Clone)]
struct Step {
    author: u8,
    target: u8,
    revokes: bool,
    seen: u16,
    back_dated: bool,
}

fn step() -> impl Strategy<Value = Step> {
    // More revocations than life has, among few: circles are common.
    (0..5u8, 0..5u8, any::<bool>(), any::<u16>(), prop::bool::weighted(0.2)).prop_map(
        |(author, target, revokes, seen, back_dated)| Step { author, target, revokes, seen, back_dated },
    )
}

fn history(steps: &[Step]) -> Vec<Act> {
    let mut h = History::new();
    h.act(0, &[], (1..4).map(add).collect());
    for step in steps {
        let seen: Vec<usize> = (0..h.acts.len()).filter(|i| step.seen >> (i % 16) & 1 == 1).collect();
        let does = match step.revokes {
            true if step.target != step.author => revoke(step.target, u64::from(step.seen % 8)),
            _ => add(step.target),
        };
        let i = h.act(step.author, &seen, vec![does]);
        if step.back_dated {
            // As early as what it cites allows.
            let after = h.acts[i].after.clone();
            let sees = |a: &&Act| after.iter().any(|(of, s, _)| *of == a.at.author && a.at.seq <= *s);
            let cited = h.acts[..i].iter().filter(sees);
            h.acts[i].at.hlc = cited.map(|a| a.at.hlc).max().unwrap_or(founder().hlc).next();
        }
    }
    h.acts
}

/// `held[i][j]`: act i came after act j, by the transitive closure of what they cite.
fn closure(acts: &[Act]) -> Vec<Vec<bool>> {
    let cites =
        |a: &Act, b: &Act| a.after.iter().any(|(of, upto, _)| *of == b.at.author && b.at.seq <= *upto);
    let mut held: Vec<Vec<bool>> = acts.iter().map(|a| acts.iter().map(|b| cites(a, b)).collect()).collect();
    for k in 0..acts.len() {
        for i in 0..acts.len() {
            for j in 0..acts.len() {
                held[i][j] |= held[i][k] && held[k][j];
            }
        }
    }
    held
}

/// Which acts count, told from the outside: every act also calls in a guest of its own.
fn counted(acts: &[Act]) -> Vec<bool> {
    let marked: Vec<Act> = acts
        .iter()
        .enumerate()
        .map(|(i, act)| {
            let mark = Does::Guest { store: other_store(), node: mark(i) };
            Act { does: [act.does.clone(), vec![mark]].concat(), ..act.clone() }
        })
        .collect();
    let members = fold(&marked);
    let guests: BTreeSet<_> = members.guests(&other_store()).copied().collect();
    (0..acts.len()).map(|i| guests.contains(&mark(i))).collect()
}

fn mark(i: usize) -> NodeId {
    NodeId([200 + i as u8; 32])
}

fn adds(act: &Act, who: NodeId) -> bool {
    act.does.iter().any(|d| matches!(d, Does::Add { node, .. } if *node == who))
}

fn revokes(act: &Act, who: NodeId) -> bool {
    act.does.iter().any(|d| matches!(d, Does::Revoke { node, .. } if *node == who))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// An act that counts is by a member, and nothing that counts is against it. One that doesn't is by a stranger, or
    /// against something that counts, or something that counts is against it.
    #[test]
    fn the_rules_hold(steps in prop::collection::vec(step(), 0..12)) {
        let acts = history(&steps);
        let held = closure(&acts);
        let counts = counted(&acts);
        let against = |r: usize, i: usize| revokes(&acts[r], acts[i].at.author) && !held[r][i];
        let by_counted = |test: &dyn Fn(usize) -> bool| (0..acts.len()).any(|j| counts[j] && test(j));
        for i in 0..acts.len() {
            let author = acts[i].at.author;
            let supported = author == node(0) || by_counted(&|a| adds(&acts[a], author) && held[i][a]);
            let attacked = by_counted(&|r| against(r, i));
            if counts[i] {
                prop_assert!(supported, "act {i} counts and is by a stranger: {acts:#?}");
                prop_assert!(!attacked, "act {i} counts and is cut by another: {acts:#?}");
            } else {
                let lost = by_counted(&|a| against(i, a) || acts.iter().enumerate().any(|(k, s)| {
                    // Against the one that makes a member of who won.
                    counts[k] && adds(s, acts[a].at.author) && against(i, k)
                }));
                prop_assert!(!supported || attacked || lost, "act {i} doesn't count for no reason: {acts:#?}");
            }
        }
    }

    /// Folding as acts arrive, in any order, ends in the same members.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        steps in prop::collection::vec(step(), 0..10),
        shuffle in any::<prop::sample::Index>(),
    ) {
        let acts = history(&steps);
        let expected = fold(&acts);
        let mut set = Acts::new(founder());
        let mut rest: Vec<Act> = acts;
        while !rest.is_empty() {
            let next = shuffle.index(rest.len());
            prop_assert!(set.insert(rest.remove(next)));
            set.fold();
        }
        prop_assert_eq!(set.fold(), expected);
    }
}

/// Every history of two acts after the founder's, with every way of seeing and every date, in every order.
#[test]
fn small_histories_are_tried_in_full() {
    let mut tried = 0;
    let step = |n: u32| Step {
        author: (n % 4) as u8,
        target: (n / 4 % 4) as u8,
        revokes: n / 16 % 2 == 1,
        seen: (n / 32 % 8) as u16,
        back_dated: n / 256 == 1,
    };
    for a in 0..512 {
        for b in 0..512 {
            let acts = history(&[step(a), step(b)]);
            let expected = fold(&acts);
            for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                let shuffled: Vec<Act> = order.iter().map(|i| acts[*i].clone()).collect();
                assert_eq!(fold(&shuffled), expected, "{acts:#?}");
            }
            tried += 1;
        }
    }
    println!("{tried} histories of three acts, in all 6 orders each");
}
