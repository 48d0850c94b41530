//! Collections give back what nothing names, and never what a reader or a commit needs.

use std::collections::HashSet;

use parking_lot::{Condvar, Mutex};

use super::super::store::Tuning;
use super::super::{ContentError, ContentStore, GcReport, MIN_ADOPT};
use super::{Fixture, noise, read, text, try_read};
use crate::entry::Content;
use crate::id::ChunkId;

fn small() -> Fixture {
    Fixture::with(Tuning { pack_target: 1 << 20, min_adopt: MIN_ADOPT })
}

fn ids<'a>(store: &ContentStore, contents: impl IntoIterator<Item = &'a Content>) -> HashSet<ChunkId> {
    contents.into_iter().flat_map(|c| store.ids_of(c).expect("resolves")).collect()
}

fn collect<'a>(store: &ContentStore, live: impl IntoIterator<Item = &'a Content>) -> GcReport {
    let token = store.begin_gc().expect("begins");
    let live = ids(store, live);
    store.collect(token, &live).expect("collects")
}

#[test]
fn dead_packs_go_and_half_dead_ones_are_rewritten_or_punched() {
    let mut fixture = small();
    let all: Vec<_> = (0..60)
        .map(|seed| {
            let bytes = if seed % 7 == 0 { text(seed, 150_000) } else { noise(seed, 150_000) };
            (fixture.store.put(&bytes).expect("puts"), bytes)
        })
        .collect();
    fixture.settle();
    let before = fixture.store.stats().expect("counts");
    // The first packs die whole, the next keep one in five, the last four in five.
    let keep = |i: usize| match i {
        0..20 => false,
        20..40 => i.is_multiple_of(5),
        _ => !i.is_multiple_of(5),
    };
    let live: Vec<_> = all.iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, s)| s).collect();
    let report = collect(&fixture.store, live.iter().map(|(c, _)| c));
    assert!(report.packs_removed >= 2 && report.packs_rewritten >= 2, "{report:?}");
    let after = fixture.store.stats().expect("counts");
    assert_eq!(after.chunks + report.chunks, before.chunks);
    assert!(after.stored_bytes < before.stored_bytes * 6 / 10, "{before:?} {after:?}");
    for round in 0..3 {
        for (content, bytes) in &live {
            assert!(read(&fixture.store, content) == *bytes, "round {round}");
        }
        assert_eq!(fixture.store.fsck(true).expect("checks").problems, Vec::<String>::new());
        if round == 1 {
            fixture.forget_index();
        }
        let findings = fixture.reopen().findings;
        assert_eq!(findings, []);
    }
    let (gone, bytes) = &all[0];
    assert!(matches!(try_read(&fixture.store, gone), Err(ContentError::Missing { .. })));
    assert_eq!(fixture.store.put(bytes).expect("puts"), *gone);
    assert!(read(&fixture.store, gone) == *bytes);
}

#[test]
fn an_adopted_file_goes_whole_is_punched_or_is_rewritten() {
    for (shared, kept) in [(0usize, 0usize), (6, 3), (1, 1)] {
        let mut fixture = Fixture::new();
        let bytes = noise(1, 8 << 20);
        let staged = fixture.stage(&bytes);
        let content = fixture.store.adopt(&staged, bytes.len() as u64).expect("adopts");
        let part = (shared > 0).then(|| fixture.store.put(&bytes[..shared << 20]).expect("puts"));
        fixture.settle();
        assert_eq!(collect(&fixture.store, part.iter().chain([&content])).chunks, 0);
        let lent = fixture.store.contiguous(&content).expect("looks").expect("is one file");
        let report = collect(&fixture.store, &part);
        assert!(report.chunks > 0);
        let raws = fixture.packs("raw").len();
        assert_eq!(raws, usize::from(kept == 3), "{shared} MiB of 8 shared");
        let mut whole = Vec::new();
        std::io::Read::read_to_end(
            &mut std::fs::File::from(lent.fd().try_clone().expect("dups")),
            &mut whole,
        )
        .expect("reads");
        assert!(whole == bytes, "what the kernel was lent stays as it is");
        drop(lent);
        collect(&fixture.store, &part);
        if let Some(part) = &part {
            assert!(fixture.store.stats().expect("counts").stored_bytes < (shared as u64 + 1) << 20);
            assert!(read(&fixture.store, part) == bytes[..shared << 20]);
        }
        assert!(!matches!(fixture.store.contiguous(&content), Ok(Some(_))));
        fixture.forget_index();
        assert_eq!(fixture.reopen().findings, []);
        // What is left of the file must not pass for it.
        let again = fixture.store.put(&bytes).expect("puts");
        assert_eq!(again, content);
        assert!(fixture.store.contiguous(&content).expect("looks").is_none());
        assert!(read(&fixture.store, &again) == bytes);
    }
}

#[test]
fn an_adopted_file_that_shares_chunks_stays_whole() {
    let fixture = Fixture::new();
    let bytes = noise(3, 8 << 20);
    let part = fixture.store.put(&bytes[..2 << 20]).expect("puts");
    let staged = fixture.stage(&bytes);
    let content = fixture.store.adopt(&staged, bytes.len() as u64).expect("adopts");
    collect(&fixture.store, [&part, &content]);
    assert!(fixture.store.contiguous(&content).expect("looks").is_some());
}

#[test]
fn readers_and_pins_are_spared() {
    let fixture = small();
    let store = &fixture.store;
    let big = noise(1, 3 << 20);
    let open = store.put(&big).expect("puts");
    let reader = store.reader(&open).expect("opens");
    let _pin = store.pin();
    let pinned: Vec<_> =
        [noise(2, 30_000), noise(3, 3 << 20)].iter().map(|b| store.put(b).expect("puts")).collect();
    let relied = noise(4, 40_000);
    let token = store.begin_gc().expect("begins");
    assert!(matches!(store.begin_gc(), Err(ContentError::GcRunning)));
    let since = store.put(&relied).expect("puts");
    let mut changed = big.clone();
    changed[100] ^= 1;
    let updated = store.update(&open, big.len() as u64, &[100..101], &changed).expect("updates");
    drop(reader);
    assert_eq!(
        store.collect(token, &HashSet::new()).expect("collects").chunks,
        2,
        "the one that was replaced, and the old list"
    );
    for content in pinned.iter().chain([&since, &updated]) {
        store
            .ids_of(content)
            .expect("resolves")
            .iter()
            .for_each(|id| drop(store.get_chunk(id).expect("is there")));
    }
    assert!(read(store, &updated) == changed && read(store, &since) == relied);
}

#[test]
fn what_nobody_holds_goes() {
    let fixture = small();
    let store = &fixture.store;
    let bytes = noise(1, 3 << 20);
    {
        let _pin = store.pin();
        let content = store.put(&bytes).expect("puts");
        drop(store.reader(&content).expect("opens"));
    }
    drop(store.begin_gc().expect("begins and is given up"));
    collect(store, []);
    let stats = store.stats().expect("counts");
    assert_eq!((stats.chunks, stats.plain_bytes), (0, 0));
    assert!(stats.stored_bytes < 4096 * 2, "{stats:?}");
}

/// Between the moment that a chunk is condemned and the one in which its row goes, somebody stores it again.
#[test]
fn what_is_stored_again_while_it_is_condemned_stays() {
    let mut fixture = small();
    let bytes = noise(7, 150_000);
    fixture.store.put(&bytes).expect("puts");
    fixture.settle();
    let store = &fixture.store;
    let token = store.begin_gc().expect("begins");
    let content = {
        let inner = &store.inner;
        let one = inner.index_lock.lock();
        let all: Vec<_> = {
            let mut all = Vec::new();
            inner.index.for_each(&mut |id, _| all.push(id)).expect("lists");
            all
        };
        let condemned = inner.pins.condemn::<ContentError>(&mut 0, &all, &mut HashSet::new(), None);
        let dead = condemned.expect("no error").expect("nothing new");
        assert_eq!(dead.len(), all.len());
        let _pin = store.pin();
        let content = store.put(&bytes).expect("puts again");
        drop(store.reader(&content).expect("it is here already"));
        inner.bury(dead, &mut GcReport::default()).expect("buries");
        drop(one);
        content
    };
    drop(token);
    assert!(read(store, &content) == bytes);
    fixture.settle();
    fixture.forget_index();
    assert_eq!(fixture.reopen().findings, []);
    assert!(read(&fixture.store, &content) == bytes);
    assert_eq!(fixture.store.fsck(true).expect("checks").problems, Vec::<String>::new());
}

/// Keeps commits and collections beside each other however the threads are scheduled: each collection follows at least
/// 40 commits, and no more than 160 begin before the next.
#[derive(Default)]
struct Pace {
    state: Mutex<Paced>,
    changed: Condvar,
}

#[derive(Default)]
struct Paced {
    commits: usize,
    writers: usize,
    over: bool,
}

impl Pace {
    /// Waits until a commit may begin; false once the collections are over.
    fn commit(&self) -> bool {
        let state = &mut self.state.lock();
        self.changed.wait_while(state, |s| s.commits >= 160 && !s.over);
        state.commits += 1;
        self.changed.notify_all();
        !state.over
    }

    /// Waits until a collection may begin.
    fn collect(&self) {
        let state = &mut self.state.lock();
        self.changed.wait_while(state, |s| s.commits < 40 && s.writers > 0);
        state.commits = 0;
        self.changed.notify_all();
    }

    /// Ends what `end` says when it is dropped, also by a panic: nobody waits for who is gone.
    fn until_dropped(&self, end: fn(&mut Paced)) -> impl Drop {
        struct End<'a>(&'a Pace, fn(&mut Paced));
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.1(&mut self.0.state.lock());
                self.0.changed.notify_all();
            }
        }
        End(self, end)
    }
}

/// Commits, readers and the indexer run while collection follows collection. Content that was put under a pin and made
/// live before the pin ended must always read back.
#[test]
fn nothing_needed_is_lost_to_a_concurrent_collection() {
    let fixture = small();
    let store = &fixture.store;
    let live: Mutex<Vec<(Content, u64, usize)>> = Mutex::default();
    let pace = Pace { state: Mutex::new(Paced { writers: 3, ..Paced::default() }), ..Pace::default() };
    let bytes = |n: u64, len: usize| noise(if n.is_multiple_of(4) { n % 24 } else { n }, len);
    let mut removed = 0;
    std::thread::scope(|scope| {
        let (pace, live) = (&pace, &live);
        let collections = pace.until_dropped(|s| s.over = true);
        for thread in 0..3u64 {
            let is_live = move |content: &Content| live.lock().iter().any(|(c, ..)| c == content);
            scope.spawn(move || {
                let _writer = pace.until_dropped(|s| s.writers -= 1);
                for n in (thread..).step_by(3).take_while(|_| pace.commit()) {
                    let most = if n.is_multiple_of(5) { 1_500_000 } else { 200_000 };
                    let len = 5000 + (n as usize * 7919) % most;
                    let data = bytes(n, len);
                    let pin = store.pin();
                    let content = store.put(&data).expect("puts");
                    let mut list = live.lock();
                    list.push((content, n, len));
                    if list.len() > 12 {
                        // The oldest is overwritten.
                        list.remove(0);
                    }
                    let (oldest, n, len) = list[0].clone();
                    drop(list);
                    drop(pin);
                    // Everything is the oldest once. It may be overwritten and collected just now: then a caller
                    // looks again.
                    match store.reader(&oldest) {
                        Ok(reader) => {
                            let mut out = vec![0; len];
                            match reader.read_at(&mut out, 0) {
                                Ok(_) => assert!(out == bytes(n, len)),
                                Err(e) => assert!(!is_live(&oldest), "{e}"),
                            }
                        }
                        Err(e) => assert!(!is_live(&oldest), "{e}"),
                    }
                }
            });
        }
        scope.spawn(move || {
            while pace.state.lock().writers > 0 {
                store.sync().expect("syncs");
                store.index_pending(50).expect("indexes");
            }
        });
        for _ in 0..15 {
            pace.collect();
            let token = store.begin_gc().expect("begins");
            let named = live.lock().clone();
            let named = ids(store, named.iter().map(|(c, ..)| c));
            let report = store.collect(token, &named).expect("collects");
            assert_eq!(report.problems, Vec::<String>::new());
            removed += report.chunks;
            let now = live.lock().clone();
            for (content, n, len) in now {
                let found = try_read(store, &content);
                // Still live now, so it must be whole.
                if live.lock().iter().any(|(c, ..)| *c == content) {
                    assert!(found.expect("live") == bytes(n, len));
                }
            }
        }
        drop(collections);
    });
    println!("15 collections beside commits removed {removed} chunks");
    assert!(removed >= 1500, "the collections had nothing to do");
    for (content, seed, len) in live.into_inner() {
        assert!(read(store, &content) == bytes(seed, len));
    }
    assert_eq!(store.fsck(true).expect("checks").problems, Vec::<String>::new());
}
