//! Random histories by several authors who see each other's entries late, applied in every legal order, or in many.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// One author's step: what to do, how old a view to do it from, how little the clock moves.
#[derive(Debug, Clone)]
struct Step {
    author: u8,
    /// Other authors' entries that arrived before it: a bit each.
    sync: u8,
    act: u8,
    file: u8,
    attrs: u8,
    /// How many steps ago the file was opened: the heads that are cited are of then.
    stale: usize,
    tick: u64,
}

fn any_step() -> impl Strategy<Value = Step> {
    (0..3u8, any::<u8>(), 0..10u8, 0..3u8, any::<u8>(), 0..3usize, 1..3u64).prop_map(
        |(author, sync, act, file, attrs, stale, tick)| Step { author, sync, act, file, attrs, stale, tick },
    )
}

/// One author's view: what has reached it, and the heads at each of its steps.
#[derive(Default)]
struct Replica {
    seen: Vec<usize>,
    views: Vec<Vec<EntryId>>,
}

/// Plays the steps. Times are as close as the rules allow, so entries of different authors often share one.
fn history(steps: &[Step]) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut replicas: BTreeMap<u8, Replica> = BTreeMap::new();
    for (n, step) in steps.iter().enumerate() {
        let replica = replicas.entry(step.author).or_default();
        for other in 0..events.len() {
            let arrives = step.sync >> (other % 8) & 1 == 1;
            if arrives && !replica.seen.contains(&other) {
                see(other, &events, &mut replica.seen);
            }
        }
        let held: Vec<Event> = replica.seen.iter().map(|i| events[*i].clone()).collect();
        let heads = oracle(&held).head_ids();
        replica.views.push(heads);
        let view = replica.views.len().saturating_sub(1 + step.stale);
        let parents = replica.views[view].clone();
        let floor = held.iter().map(|e| e.at.hlc.0).max().unwrap_or(0);
        let mut act = match step.act {
            0..5 => Act::Put(Node { attrs: attrs(step.attrs), ..node(step.file, text("")) }),
            5..8 => Act::Delete,
            _ => Act::Attr(FileId([step.file; 16]), attrs(step.attrs)),
        };
        if let Act::Put(node) = &mut act {
            // Few values, so that some concurrent heads agree.
            node.value = [text("a"), text("b"), Value::Dir][usize::from(step.attrs) % 3].clone();
        }
        let parents = if matches!(act, Act::Attr(..)) { vec![] } else { parents };
        // An id unrelated to the order of arrival, as hashes are.
        let id = (n as u8).wrapping_mul(167).wrapping_add(step.attrs);
        let mut at = at(floor + step.tick, step.author, id);
        at.id.0[0] = n as u8 ^ 0x5a;
        events.push(Event { at, act, parents });
        replica.seen.push(events.len() - 1);
    }
    events
}

/// Marks `event` as arrived, after the entries that it cites.
fn see(event: usize, events: &[Event], seen: &mut Vec<usize>) {
    for parent in &events[event].parents {
        let place = events.iter().position(|e| e.at.id == *parent).expect("cited entries exist");
        if !seen.contains(&place) {
            see(place, events, seen);
        }
    }
    if !seen.contains(&event) {
        seen.push(event);
    }
}

/// The events not yet in `order` whose parents all are.
fn ready(events: &[Event], order: &[usize]) -> Vec<usize> {
    let done = |id: &EntryId| order.iter().any(|i| events[*i].at.id == *id);
    (0..events.len()).filter(|i| !order.contains(i) && events[*i].parents.iter().all(done)).collect()
}

fn apply_all(events: &[Event], order: &[usize]) -> Record {
    let mut record = Record::default();
    order.iter().for_each(|i| events[*i].apply(&mut record));
    record
}

/// Calls `visit` with every order in which parents come first.
fn every_order(events: &[Event], order: &mut Vec<usize>, visit: &mut impl FnMut(&[usize])) {
    if order.len() == events.len() {
        return visit(order);
    }
    for next in ready(events, order) {
        order.push(next);
        every_order(events, order, visit);
        order.pop();
    }
}

/// One such order, drawn by `picks`.
fn some_order(events: &[Event], picks: &[prop::sample::Index]) -> Vec<usize> {
    let mut order = Vec::new();
    for pick in picks.iter().cycle().take(events.len()) {
        let ready = ready(events, &order);
        order.push(ready[pick.index(ready.len())]);
    }
    order
}

/// How often the generated histories held what the rules are about.
#[derive(Default)]
struct Counts {
    orders: Cell<u64>,
    concurrent: Cell<u64>,
    equal_times: Cell<u64>,
    edit_beside_delete: Cell<u64>,
    conflicts: Cell<u64>,
}

fn bump(count: &Cell<u64>, by: u64) {
    count.set(count.get() + by);
}

impl Counts {
    fn note(&self, record: &Record) {
        let heads = &record.heads;
        let live = record.live_heads().count();
        bump(&self.concurrent, (heads.len() > 1).into());
        bump(&self.equal_times, heads.windows(2).any(|w| w[0].entry.hlc == w[1].entry.hlc).into());
        bump(&self.edit_beside_delete, (0 < live && live < heads.len()).into());
        bump(&self.conflicts, (record.conflict() > 0).into());
    }

    fn print(&self, what: &str) {
        println!(
            "{what}: {} orders; histories with concurrent heads {}, equal times {}, edit beside delete {}, conflict {}",
            self.orders.get(),
            self.concurrent.get(),
            self.equal_times.get(),
            self.edit_beside_delete.get(),
            self.conflicts.get(),
        );
        for count in [&self.concurrent, &self.equal_times, &self.edit_beside_delete, &self.conflicts] {
            assert!(count.get() > 20, "the histories are too tame to show anything");
        }
    }
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[test]
fn small_histories_in_every_order() {
    let counts = Counts::default();
    let steps = prop::collection::vec(any_step(), 1..7);
    let run = runner(600).run(&steps, |steps| {
        let events = history(&steps);
        let want = oracle(&events);
        counts.note(&want);
        let (mut orders, mut different) = (0, None);
        every_order(&events, &mut Vec::new(), &mut |order| {
            orders += 1;
            if apply_all(&events, order) != want {
                different = Some(order.to_vec());
            }
        });
        bump(&counts.orders, orders);
        prop_assert_eq!(different, None);
        Ok(())
    });
    run.expect("one record for all orders");
    counts.print("small");
    assert!(counts.orders.get() > 6_000, "{} orders", counts.orders.get());
}

#[test]
fn large_histories_in_many_orders() {
    let counts = Counts::default();
    let steps = prop::collection::vec(any_step(), 10..60);
    let picks = prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 60), 12);
    let run = runner(150).run(&(steps, picks), |(steps, picks)| {
        let events = history(&steps);
        let want = oracle(&events);
        counts.note(&want);
        for picks in picks {
            let order = some_order(&events, &picks);
            bump(&counts.orders, 1);
            prop_assert_eq!(&apply_all(&events, &order), &want);
        }
        Ok(())
    });
    run.expect("one record for all orders");
    counts.print("large");
}

/// A replica that moves sleeping registers out after every entry shows what one that keeps them does.
#[test]
fn registers_that_sleep_are_not_forgotten() {
    let woken = Cell::new(0);
    let steps = prop::collection::vec(any_step(), 2..30);
    let picks = prop::collection::vec(any::<prop::sample::Index>(), 30);
    let run = runner(300).run(&(steps, picks), |(steps, picks)| {
        let events = history(&steps);
        let mut record = Record::default();
        let mut asleep: BTreeMap<FileId, FileAttrs> = BTreeMap::new();
        for i in some_order(&events, &picks) {
            let file_id = events[i].file_id();
            if let Some((id, attrs)) = file_id.and_then(|id| asleep.remove_entry(&id)) {
                record.wake(id, attrs);
                bump(&woken, 1);
            }
            events[i].apply(&mut record);
            for (id, attrs) in record.take_dormant() {
                prop_assert_eq!(asleep.insert(id, attrs), None);
            }
            let is_head = |id| record.live_heads().any(|h| h.node.as_ref().is_some_and(|n| n.file_id == id));
            prop_assert!(record.attrs.iter().all(|(id, _)| is_head(*id)));
        }
        for (id, attrs) in asleep {
            record.wake(id, attrs);
        }
        prop_assert_eq!(record, oracle(&events));
        Ok(())
    });
    run.expect("nothing is forgotten");
    assert!(woken.get() > 100, "only {} files were woken", woken.get());
}

#[test]
fn an_entry_that_is_a_head_can_be_applied_again() {
    let steps = prop::collection::vec(any_step(), 1..20);
    let run = runner(200).run(&steps, |steps| {
        let events = history(&steps);
        let want = oracle(&events);
        let mut record = want.clone();
        for event in &events {
            if want.heads.iter().any(|h| h.entry == event.at) || matches!(event.act, Act::Attr(..)) {
                event.apply(&mut record);
            }
        }
        prop_assert_eq!(record, want);
        Ok(())
    });
    run.expect("nothing changes");
}
