//! SQLite with two processes at once, with a rollback journal and with a write-ahead log.

use std::fs;

use lattice_tests::fixture::Cmd;

/// Transactions of each process.
const TRANSACTIONS: u32 = 150;

fn two_processes(mode: &str) {
    let Some(mut mounted) = super::mounted(&["sqlite3"]) else {
        return;
    };
    let dir = mounted.join(mode);
    fs::create_dir(&dir).expect("a directory");
    let sql = |statements: &str| {
        Cmd::new("sqlite3").args(["-bail", "db"]).dir(&dir).input(statements).deadline(120)
    };
    let set_up = format!("PRAGMA journal_mode={mode}; CREATE TABLE t(who TEXT, n INT, filler BLOB);");
    assert_eq!(sql(&set_up).ok().expect("set up").trim(), mode);

    let writer = |who: &str| {
        let mut statements = String::from(".timeout 60000\n");
        for n in 0..TRANSACTIONS {
            statements +=
                &format!("BEGIN IMMEDIATE; INSERT INTO t VALUES('{who}', {n}, randomblob(700)); COMMIT;\n");
        }
        sql(&statements).ok()
    };
    std::thread::scope(|scope| {
        let one = scope.spawn(|| writer("one"));
        let two = scope.spawn(|| writer("two"));
        one.join().expect("a thread").expect("the first process");
        two.join().expect("a thread").expect("the second process");
    });

    let check = "PRAGMA integrity_check; SELECT who, count(*), sum(n) FROM t GROUP BY who ORDER BY who;";
    let sum = TRANSACTIONS * (TRANSACTIONS - 1) / 2;
    let wanted = format!("ok\none|{TRANSACTIONS}|{sum}\ntwo|{TRANSACTIONS}|{sum}\n");
    assert_eq!(sql(check).ok().expect("check"), wanted);
    mounted.remount().expect("a new mount");
    if mounted.persists() {
        assert_eq!(sql(check).ok().expect("check after a new mount"), wanted);
        sql("DELETE FROM t WHERE n % 2 = 0; VACUUM;").ok().expect("vacuum");
        assert_eq!(sql("PRAGMA integrity_check;").ok().expect("check"), "ok\n");
    }
}

#[test]
fn with_a_rollback_journal() {
    two_processes("delete");
}

#[test]
fn with_a_write_ahead_log() {
    two_processes("wal");
}
