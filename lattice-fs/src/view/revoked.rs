//! What is said of a node that was revoked: by whom, what it means for whoever works on it, and what to do.

use jiff::Timestamp;
use lattice_engine::hlc::Hlc;

const NEXT: &str = "It exchanges nothing with the others any more, and what is changed here stays here. To be a member again, \
                    join with another data directory (lattice --home DIR join TICKET), and copy what is to be kept";

/// As the root store has it.
pub fn known(by: &str, at: Hlc) -> String {
    let ms = i64::try_from(at.wall_ms()).unwrap_or(i64::MAX);
    let at = Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |t| format!(" at {t:.0}"));
    format!("this node was revoked by {by}{at}. {NEXT}")
}

/// As the members say that have cut it off: the entry that says so doesn't come to it.
pub fn told(by: &[String]) -> String {
    format!("this node was revoked: so say the members that cut it off ({}). {NEXT}", by.join(", "))
}
