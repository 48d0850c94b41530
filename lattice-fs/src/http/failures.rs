//! Wrong tokens, counted by where they come from and which token they are about: after ten in a row more are turned away
//! without a reason, one a second excepted, and not logged. A right one always enters, also from an address that it shares with
//! who guesses, as behind a reverse proxy: nobody can be locked out from a distance, and to guess 256 random bits there is no
//! time, however fast one may try.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lattice_engine::access::TokenId;
use parking_lot::Mutex;

/// Failures that may come at once.
const BURST: f64 = 10.0;
/// How many more each second.
const PER_SECOND: f64 = 1.0;
/// Places that are remembered.
const MAX_KEPT: usize = 8192;

/// Whose failures are counted together. Ids that are unknown are one.
type Place = (IpAddr, Option<TokenId>);

/// The failures of one listener.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<Place, Bucket>>);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn now(&mut self, now: Instant) -> &mut Self {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND;
        self.left = (self.left + gained).min(BURST);
        self.at = now;
        self
    }
}

/// A network's host has all addresses of a /64.
fn place(from: IpAddr, token: Option<TokenId>) -> Place {
    let from = match from.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    };
    (from, token)
}

impl Failures {
    /// One has failed. Whether the reason may be told; else how long to wait.
    pub fn may_fail(&self, from: IpAddr, token: Option<TokenId>, now: Instant) -> Result<(), Duration> {
        let mut all = self.0.lock();
        let place = place(from, token);
        if all.len() >= MAX_KEPT && !all.contains_key(&place) {
            // Those who have waited long enough are as good as new; if there are none, all are forgiven.
            all.retain(|_, bucket| bucket.now(now).left < BURST);
            if all.len() >= MAX_KEPT {
                all.clear();
            }
        }
        let bucket = all.entry(place).or_insert(Bucket { left: BURST, at: now }).now(now);
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) / PER_SECOND));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn after_ten_failures_one_a_second_is_answered() {
        let (failures, start) = (Failures::default(), Instant::now());
        let (here, token) = (ip("192.0.2.1"), Some(TokenId([1; 8])));
        for _ in 0..10 {
            assert_eq!(failures.may_fail(here, token, start), Ok(()));
        }
        assert_eq!(failures.may_fail(here, token, start), Err(Duration::from_secs(1)));
        assert_eq!(failures.may_fail(here, Some(TokenId([2; 8])), start), Ok(()), "another token");
        assert_eq!(failures.may_fail(ip("192.0.2.2"), token, start), Ok(()), "from elsewhere");
        let later = start + Duration::from_secs(1);
        assert_eq!(failures.may_fail(here, token, later), Ok(()));
        assert!(failures.may_fail(here, token, later).is_err());
        assert_eq!(failures.may_fail(here, token, start + Duration::from_secs(60)), Ok(()));
    }

    #[test]
    fn a_host_with_many_addresses_is_one() {
        let (failures, now) = (Failures::default(), Instant::now());
        let fail = |from: &str| failures.may_fail(ip(from), None, now);
        for n in 0..10 {
            assert_eq!(fail(&format!("2001:db8::{n}")), Ok(()));
            assert_eq!(fail("::ffff:192.0.2.1"), Ok(()));
        }
        assert!(fail("2001:db8::ffff").is_err());
        assert_eq!(fail("2001:db8:0:1::1"), Ok(()));
        assert!(fail("192.0.2.1").is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let (failures, now) = (Failures::default(), Instant::now());
        for n in 0..3 * MAX_KEPT as u32 {
            assert_eq!(failures.may_fail(IpAddr::V4(n.into()), None, now), Ok(()));
        }
        assert!(failures.0.lock().len() <= MAX_KEPT);
    }
}
