//! Names and contents that are made to harm. A name is only ever text; what a file holds never runs.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::browsers;
use crate::site::Site;

const NAME: &str = "<img src=x onerror=alert(1)>.html";
const PAGE: &str = "<!doctype html><title>owned</title><h1>hello</h1><script>alert(2); top.document.title = 'owned'</script>";

#[test]
fn a_hostile_name_is_text_and_a_hostile_page_does_not_run() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    site.laptop.write(NAME, PAGE).expect("written");
    site.laptop
        .write("picture.svg", "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(3)'/>")
        .expect("written");
    std::fs::create_dir(site.laptop.place("javascript:alert(4)")).expect("made");
    site.visit("files/").expect("the list");
    site.page.click("a", NAME).expect("the name, as it is");
    site.page.shows("<script>alert(2)").expect("its text");
    assert_eq!(site.page.eval("document.querySelectorAll('main img').length").expect("counted"), 0);
    site.page.click("a", "History").expect("its history");
    site.page.shows(&format!("History of {NAME}")).expect("the name again");
    site.visit("events/").expect("the events");
    site.page.shows(NAME).expect("the name again");
    site.visit("files/").expect("the list");
    site.page.click("a", "picture.svg").expect("the drawing");
    site.page.shows("onload='alert(3)'").expect("its text");
    site.visit("files/").expect("the list");
    site.page.click("a", "javascript:alert(4)").expect("the folder");
    site.page.shows("Nothing is here yet").expect("a folder like any other");

    // The value itself, opened beside the page: the sandbox that it is served in lets nothing run.
    let path = format!("/stores/{}/keys/%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E.html", site.store);
    assert!(site.page.complaints().is_empty(), "nothing ran, and nothing was refused");
    site.page.open(&format!("{}{path}", site.url)).expect("the value");
    site.page.shows("hello").expect("it is shown");
    let cookie = site.page.eval("(() => { try { return document.cookie } catch (e) { return e.name } })()");
    assert_eq!(cookie.expect("asked"), "SecurityError", "it has no origin to read anything of");
    let complaints = site.page.complaints();
    assert!(complaints.iter().all(|c| !c.contains("dialog")), "it ran: {complaints:#?}");
    site.page.open("about:blank").expect("away");
    site.page.complaints();
    site.end();
}

#[test]
fn names_that_are_no_text_or_that_hide_are_shown_and_reached() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    let odd: [(&[u8], &str); 4] = [
        (b"caf\xe9", "caf\\xE9"),
        ("evil\u{202e}txt.exe".as_bytes(), "evil\\u{202E}txt.exe"),
        (b"a?b#c%d&e+f", "a?b#c%d&e+f"),
        ("tab\there".as_bytes(), "tab\\u{9}here"),
    ];
    for (name, shown) in odd {
        let path = site.laptop.place("").join(OsStr::from_bytes(name));
        std::fs::write(&path, format!("inside of {shown}")).expect("written");
    }
    for (name, shown) in odd {
        site.visit("files/").expect("the list");
        site.page.click("a.name", shown).expect(shown);
        site.page.shows(&format!("inside of {shown}")).expect("its text");
        site.page.click("button", "Delete").expect("asked");
        site.page.click("button", "Delete it").expect("confirmed");
        site.page.wait("the list", "document.querySelector('.drop') !== null").expect("back");
        let path = site.laptop.place("").join(OsStr::from_bytes(name));
        assert!(!path.exists(), "{shown} is gone");
    }
    site.end();
}
