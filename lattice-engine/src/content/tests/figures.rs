//! Figures, printed: `cargo test --release -p lattice-engine --lib content::tests::figures -- --ignored --nocapture`.

use std::time::Instant;

use super::{Fixture, noise, text};
use crate::entry::Content;

const SIZE: usize = 1 << 30;

fn rate(name: &str, bytes: usize, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    println!("{name:<44} {:>8.0} MB/s  {seconds:>6.3} s", bytes as f64 / seconds / 1e6);
}

fn read_all(fixture: &Fixture, content: &Content, name: &str) {
    let reader = fixture.store.reader(content).expect("opens");
    let mut buf = vec![0; 128 << 10];
    let start = Instant::now();
    let mut at = 0;
    while at < content.size() {
        at += reader.read_at(&mut buf, at).expect("reads") as u64;
    }
    rate(name, content.size() as usize, start);
}

#[test]
#[ignore = "prints figures, asserts nothing: needs 5 GiB of disk"]
fn of_one_gibibyte() {
    let mut fixture = Fixture::new();
    for (name, bytes) in [("noise", noise(1, SIZE)), ("text", text(1, SIZE / 4))] {
        let len = bytes.len();
        let before = fixture.store.stats().expect("counts").stored_bytes;
        let start = Instant::now();
        let mut writer = fixture.store.writer();
        for part in bytes.chunks(1 << 20) {
            writer.write(part).expect("writes");
        }
        let content = writer.finish().expect("finishes");
        rate(&format!("{name}: write"), len, start);
        fixture.store.sync().expect("syncs");
        rate(&format!("{name}: write and sync"), len, start);
        let stored = fixture.store.stats().expect("counts").stored_bytes - before;
        println!("{name}: {stored} bytes stored for {len}");
        read_all(&fixture, &content, &format!("{name}: first read (verifies), 128 KiB"));
        read_all(&fixture, &content, &format!("{name}: second read, 128 KiB"));
        let start = Instant::now();
        assert_eq!(fixture.store.put(&bytes).expect("puts"), content);
        rate(&format!("{name}: store again"), len, start);
    }
    fixture.settle();
    let start = Instant::now();
    fixture.forget_index();
    let scanned = fixture.reopen().scanned_bytes;
    rate("rebuild the index by scanning", scanned as usize, start);
    drop(fixture);

    let fixture = Fixture::new();
    let mut bytes = noise(2, SIZE);
    let staged = fixture.stage(&bytes);
    let start = Instant::now();
    let content = fixture.store.adopt(&staged, SIZE as u64).expect("adopts");
    rate("adopt", SIZE, start);
    let start = Instant::now();
    fixture.store.sync().expect("syncs");
    println!("sync after it: {:.3} s", start.elapsed().as_secs_f64());
    read_all(&fixture, &content, "adopted: first read (verifies), 128 KiB");
    read_all(&fixture, &content, "adopted: second read, 128 KiB");
    let reader = fixture.store.reader(&content).expect("opens");
    let start = Instant::now();
    assert!(reader.contiguous().is_some());
    println!("contiguous: {:.0} us", start.elapsed().as_secs_f64() * 1e6);
    let (start, before) = (Instant::now(), fixture.store.stats().expect("counts").stored_bytes);
    let mut updated = content.clone();
    let updates = 50;
    for i in 0..updates {
        let at = (i as usize * 21_474_823) & !4095;
        bytes[at..at + 4096].copy_from_slice(&noise(i, 4096));
        let range = at as u64..at as u64 + 4096;
        updated = fixture.store.update(&updated, SIZE as u64, &[range], &bytes).expect("updates");
    }
    let each = start.elapsed().as_secs_f64() / updates as f64;
    let stored = (fixture.store.stats().expect("counts").stored_bytes - before) / updates;
    println!("4 KiB update in 1 GiB: {:.2} ms, {stored} bytes stored", each * 1e3);
}
