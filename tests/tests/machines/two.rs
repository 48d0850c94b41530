//! Two people, two machines, one store: what each sees of the other, with the plug in and pulled.

use anyhow::{Context, Result, ensure};
use lattice_tests::fixture::{Cluster, Peer, Times, until_apart};

use super::{SOON, networks};

/// An attribute that the mount gives a path.
fn xattr(peer: &Peer, path: &str, name: &str) -> Result<String> {
    let mut value = vec![0; 8192];
    let name = format!("user.lattice.{name}");
    let n = rustix::fs::getxattr(peer.place(path), name.as_str(), &mut value[..])
        .with_context(|| format!("{} has no {name} of {path}", peer.name()))?;
    Ok(String::from_utf8(value[..n].to_vec())?.trim_end().to_owned())
}

/// What the versions below `.lattice/conflicts/notes.md` hold, sorted; `base`, what they come from, is none.
fn versions(peer: &Peer) -> Vec<String> {
    let dir = peer.place(".lattice/conflicts/notes.md");
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|file| file.path());
    let live = files.filter(|path| !path.to_string_lossy().ends_with("base"));
    let mut found: Vec<String> = live.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    found.sort();
    found
}

/// Until a path has as many heads.
fn awaits_heads(peer: &Peer, path: &str, heads: usize) -> Result<()> {
    let file = peer.place(path);
    let what = format!("{} has {heads} heads of {path}", peer.name());
    until_apart(&what, SOON, move || {
        let mut value = vec![0; 8192];
        let n = rustix::fs::getxattr(&file, "user.lattice.heads", &mut value[..]).unwrap_or_default();
        let found = value[..n].split(|b| *b == b'\n').filter(|line| !line.is_empty()).count();
        Ok((found == heads).then_some(()))
    })
}

#[test]
fn an_edit_on_one_machine_is_read_on_the_other() -> Result<()> {
    if !networks() {
        return Ok(());
    }
    let cluster = Cluster::switch(2, 2)?;
    let [a, b] = &cluster.peers[..] else { unreachable!("two nodes") };
    let mut times = Times::default();
    for n in 0..20 {
        let (from, to) = if n % 2 == 0 { (a, b) } else { (b, a) };
        // The same few names again and again: what the other one's kernel has cached must go.
        let (name, text) = (format!("note-{}", n % 3), format!("edit {n} by {}\n", from.name()));
        from.write(&name, &text)?;
        times.add(to.awaits(&name, &text, SOON)?);
    }
    std::fs::create_dir_all(a.place("deep/er"))?;
    std::fs::rename(a.place("note-0"), a.place("deep/er/moved"))?;
    b.awaits("deep/er/moved", std::fs::read(a.place("deep/er/moved"))?, SOON)?;
    ensure!(!b.place("note-0").exists(), "the old name is still there");
    println!("an edit until the other mount reads it: {times}");
    cluster.passed();
    Ok(())
}

#[test]
fn edits_on_both_machines_with_the_plug_pulled_become_a_conflict_that_is_resolved_once() -> Result<()> {
    if !networks() {
        return Ok(());
    }
    let cluster = Cluster::switch(2, 2)?;
    let [a, b] = &cluster.peers[..] else { unreachable!("two nodes") };
    a.write("notes.md", "base\n")?;
    b.awaits("notes.md", "base\n", SOON)?;
    cluster.network.set_link(1, false)?;
    a.write("notes.md", "by A\n")?;
    b.write("notes.md", "by B\n")?;
    a.write("only-a", "a\n")?;
    b.write("only-b", "b\n")?;
    cluster.network.set_link(1, true)?;
    for peer in [a, b] {
        awaits_heads(peer, "notes.md", 2)?;
        ensure!(versions(peer) == ["by A\n", "by B\n"], "{} shows {:?}", peer.name(), versions(peer));
        ensure!(
            peer.lattice(["conflicts", "home", "--exit-code"]).run()?.code() == 22,
            "no conflict is told"
        );
    }
    let heads = |peer| xattr(peer, "notes.md", "heads");
    ensure!(heads(a)? == heads(b)?, "they differ in the heads:\n{}\n{}", heads(a)?, heads(b)?);
    let same = a.awaits("notes.md", std::fs::read(b.place("notes.md"))?, SOON);
    same.context("they differ in the winner")?;
    a.awaits("only-b", "b\n", SOON)?;
    b.awaits("only-a", "a\n", SOON)?;
    let merged = b.beside("merged");
    std::fs::write(&merged, "by both\n")?;
    b.lattice(["resolve".as_ref(), "home:notes.md".as_ref(), "--with".as_ref(), merged.as_os_str()]).ok()?;
    for peer in [a, b] {
        peer.awaits("notes.md", "by both\n", SOON)?;
        awaits_heads(peer, "notes.md", 1)?;
        ensure!(versions(peer).is_empty(), "{} still shows {:?}", peer.name(), versions(peer));
        ensure!(peer.lattice(["conflicts", "home", "--exit-code"]).run()?.code() == 0, "a conflict is left");
    }
    cluster.passed();
    Ok(())
}
