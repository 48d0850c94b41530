//! Files: going down and up, uploading, looking at them, and bringing an old version back.

use crate::browsers;
use crate::site::{SOON, Site};

#[test]
fn files_are_found_uploaded_looked_at_renamed_and_deleted() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    std::fs::create_dir(site.laptop.place("notes")).expect("a directory");
    site.laptop.write("notes/one.txt", "the first note\n").expect("written");
    site.page.click("a", "home").expect("the store");
    site.page.click("a", "notes").expect("the folder");
    site.page.click("a", "one.txt").expect("the file");
    site.page.shows("the first note").expect("its text");

    site.page.click("button", "Edit").expect("editing");
    site.page.fill("textarea", "Text", "changed: the first note\n").expect("typed");
    site.page.click("button", "Save").expect("saved");
    site.page.shows("changed: the first note").expect("the new text");
    site.laptop.awaits("notes/one.txt", "changed: the first note\n", SOON).expect("in the mount");

    site.page.click("button", "Rename or move").expect("renaming");
    site.page.fill("input", "New path in home", "notes/two.txt").expect("typed");
    site.page.press("Enter").expect("done");
    site.page
        .wait("the new name", "document.querySelector('h1').textContent === 'two.txt'")
        .expect("renamed");
    site.laptop.awaits("notes/two.txt", "changed: the first note\n", SOON).expect("in the mount");

    site.page.click("button", "Delete").expect("asked");
    site.page.click("button", "Delete it").expect("confirmed");
    site.page.shows("Nothing is here yet").expect("back in the folder");
    assert!(!site.laptop.place("notes/two.txt").exists(), "it is gone from the mount");
    site.end();
}

#[test]
fn dropped_files_are_uploaded_and_nothing_is_replaced_unasked() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    site.visit("files/").expect("the store");
    site.page.shows("Nothing is here yet").expect("empty");
    let drop = |files: &str| {
        format!(
            "(() => {{ const data = new DataTransfer(); for (const [name, text] of {files}) data.items.add(new File([text], name)); \
             const at = document.querySelector('.drop'); \
             for (const kind of ['dragenter', 'dragover', 'drop']) \
               at.dispatchEvent(new DragEvent(kind, {{ dataTransfer: data, bubbles: true, cancelable: true }})); }})()"
        )
    };
    let big = "'x'.repeat(3_000_000)";
    site.page
        .eval(&drop(&format!("[['a b#?%.txt', 'one'], ['empty', ''], ['big', {big}]]")))
        .expect("dropped");
    for (name, bytes) in
        [("a b#?%.txt", "one".to_owned()), ("empty", String::new()), ("big", "x".repeat(3_000_000))]
    {
        site.laptop.awaits(name, bytes, SOON).expect(name);
    }
    site.page.wait("the list", "test.find('a.name', 'a b#?%.txt') !== null").expect("listed");
    assert!(site.page.complaints().is_empty(), "nothing went wrong so far");

    site.page.eval(&drop("[['a b#?%.txt', 'two']]")).expect("dropped again");
    site.page.shows("is there already").expect("asked");
    site.laptop.awaits("a b#?%.txt", "one", SOON).expect("not replaced");
    site.page.click("button", "Replace a b#?%.txt").expect("replaced");
    site.laptop.awaits("a b#?%.txt", "two", SOON).expect("replaced");
    let complaints = site.page.complaints();
    assert!(complaints.iter().all(|c| c.contains("412")), "only the refusal: {complaints:#?}");
    site.end();
}

#[test]
fn an_old_version_is_looked_at_compared_and_restored() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    for text in ["oldest\nsame\n", "second\nsame\n", "third\nsame\n"] {
        site.laptop.write("story", text).expect("written");
    }
    site.visit("history/story").expect("the history");
    site.page.wait("three versions", "document.querySelectorAll('li.version').length === 3").expect("listed");
    site.page
        .wait("the drawing", "document.querySelectorAll('svg.graph circle:not(.halo)').length === 3")
        .expect("drawn");
    site.page.wait("its lines", "document.querySelectorAll('svg.graph path').length === 2").expect("drawn");

    let last = "[...document.querySelectorAll('li.version')].at(-1)";
    let label = |verb: &str| {
        let js = format!(
            "test.nameOf([...{last}.querySelectorAll('button')].find((b) => b.textContent === '{verb}'))"
        );
        site.page.eval(&js).expect("a button").as_str().expect("its name").to_owned()
    };
    let (view, compare, restore) = (label("View"), label("Compare"), label("Restore"));
    site.page.click("button", &view).expect("viewed");
    site.page.shows("oldest").expect("the old text");
    site.page.press("Escape").expect("closed");
    site.page.wait("no dialog", "!document.querySelector('dialog')").expect("closed");
    site.page.click("button", &compare).expect("compared");
    site.page.shows("removed: oldest").expect("what was");
    site.page.shows("added: third").expect("what is");
    site.page.click("button", "Close").expect("closed");
    site.page.click("button", &restore).expect("asked");
    site.page.click("button", "Restore it").expect("confirmed");
    site.laptop.awaits("story", "oldest\nsame\n", SOON).expect("restored");
    site.page
        .wait("a fourth version", "document.querySelectorAll('li.version').length === 4")
        .expect("listed");
    site.end();
}
