//! Values there and back: any bytes, any name, any size, and with ordinary programs.

use lattice_tests::fixture::{Cmd, have};

use crate::served::{Served, at};

fn noise(size: usize) -> Vec<u8> {
    (0..size as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[test]
fn any_bytes_under_any_name_come_back() {
    let served = Served::new();
    let names = [
        "plain",
        "a/b/c",
        "%20space%20",
        "%C3%BC.txt",
        "%ff%fe",
        "%3Cimg%20src=x%20onerror=alert(1)%3E.html",
        "a%3Fb%23c%25d",
        "...",
    ];
    for (i, name) in names.iter().enumerate() {
        for bytes in [Vec::new(), vec![0], noise(4096), noise(4097), noise(300_000 + i), noise(3 << 20)] {
            let made = served.admin.put(&at(name), &bytes).expect("put");
            assert!([200, 201].contains(&made.status), "{name}: {}", made.text());
            let got = served.admin.get(&format!("/v1{}", at(name))).expect("got");
            assert!(got.body == bytes, "{name}, {} bytes", bytes.len());
            assert_eq!(got.header("etag"), made.header("etag"));
            assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
            let head = served.admin.send("HEAD", &at(name), &[], b"").expect("an answer");
            assert_eq!(head.header("content-length"), Some(bytes.len().to_string().as_str()));
        }
    }
    let part =
        served.admin.send("GET", &at("plain"), &[("Range", "bytes=1000000-2999999")], b"").expect("a part");
    assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 1000000-2999999/3145728")));
    assert!(part.body == noise(3 << 20)[1_000_000..3_000_000]);
    let durable = served.admin.put(&format!("{}?durable", at("plain")), "1").expect("put");
    assert_eq!(durable.status, 200);
    let batch = serde_json::json!({ "ops": [{ "op": "put", "key": "d", "value": "1" }] });
    assert_eq!(served.admin.post("/stores/home/batch?durable=true", &batch).expect("an answer").status, 200);
    assert_eq!(served.admin.delete(&format!("{}?durable", at("d"))).expect("an answer").status, 200);
    assert_eq!(served.admin.delete(&format!("{}?recursive=true", at("a"))).expect("an answer").status, 200);
    served.passed();
}

#[test]
fn curl_sends_and_fetches_a_large_file_in_flat_memory() {
    if !have("curl") {
        println!("skipped: curl is not installed");
        return;
    }
    let served = Served::new();
    let token = served.peer.token(&["--store", "home", "--scope", "rw"]).expect("a token");
    let (file, back) = (served.peer.beside("large"), served.peer.beside("back"));
    std::fs::write(&file, noise(96 << 20)).expect("written");
    let url = format!("http://{}{}", served.nobody.at, at("large"));
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", served.peer.pid().expect("it runs")));
        let line = status
            .expect("its status")
            .lines()
            .find_map(|l| Some(l.strip_prefix("VmHWM:")?.trim().to_owned()));
        line.and_then(|l| l.split(' ').next().and_then(|n| n.parse::<u64>().ok())).expect("a number")
    };
    let before = resident();
    let curl = |args: &[&str]| {
        Cmd::new("curl").args(["-sSf", "--oauth2-bearer", &token.replace(':', ".")]).args(args).ok()
    };
    curl(&["-T", file.to_str().expect("UTF-8"), &url]).expect("sent");
    curl(&["-o", back.to_str().expect("UTF-8"), &url]).expect("fetched");
    assert!(std::fs::read(&file).expect("read") == std::fs::read(&back).expect("read"));
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB more at its peak");
    let user = curl(&["-u", &token, &url, "-r", "0-3", "-o", "/dev/null", "-w", "%{http_code}"]);
    assert_eq!(user.expect("fetched"), "206");
    served.passed();
}
