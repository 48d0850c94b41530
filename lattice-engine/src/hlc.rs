//! The hybrid logical clock (Kulkarni et al., 2014): 48 bits of Unix milliseconds and a 16-bit counter that carries
//! into them. Pure: wall time is an argument, and persisting the high-water mark is the caller's.

use std::fmt;

/// How far ahead of our own clock a remote time may pull us. What is further ahead waits in quarantine.
pub const MAX_AHEAD_MS: u64 = 10 * 60 * 1000;

/// A point in hybrid logical time. Ordered; unique per author because every entry's is greater than the one before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc(pub u64);

impl Hlc {
    pub const ZERO: Self = Self(0);

    pub fn new(wall_ms: u64, counter: u16) -> Self {
        Self(wall_ms << 16 | u64::from(counter))
    }

    pub fn wall_ms(self) -> u64 {
        self.0 >> 16
    }

    pub fn counter(self) -> u16 {
        self.0 as u16
    }

    /// The next point; the counter carries into the milliseconds.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// As (seconds, nanoseconds), the counter as nanoseconds: strictly increasing, for file times.
    pub fn as_time(self) -> (i64, u32) {
        let ms = self.wall_ms();
        ((ms / 1000) as i64, (ms % 1000) as u32 * 1_000_000 + u32::from(self.counter()))
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.wall_ms(), self.counter())
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hlc({self})")
    }
}

/// One node's clock: never goes back, whatever the wall clock does.
#[derive(Debug, Clone, Copy, Default)]
pub struct HlcClock {
    last: Hlc,
}

impl HlcClock {
    /// Resumes from a persisted high-water mark.
    pub fn starting_at(last: Hlc) -> Self {
        Self { last }
    }

    pub fn last(&self) -> Hlc {
        self.last
    }

    /// The time of a new entry: after everything seen, `floor` (its deps) included, and not before the wall clock.
    pub fn tick(&mut self, now_ms: u64, floor: Hlc) -> Hlc {
        self.last = self.last.max(floor).next().max(Hlc::new(now_ms, 0));
        self.last
    }

    /// Takes note of a remote time, at most [`MAX_AHEAD_MS`] ahead of our own clock.
    pub fn observe(&mut self, remote: Hlc, now_ms: u64) {
        self.last = self.last.max(remote.min(Hlc::new(now_ms + MAX_AHEAD_MS, 0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_carries_and_time_never_goes_back() {
        let mut clock = HlcClock::default();
        let a = clock.tick(1000, Hlc::ZERO);
        let b = clock.tick(900, Hlc::ZERO);
        assert!(b > a && b.wall_ms() == 1000 && b.counter() == 1);
        assert_eq!(Hlc::new(5, u16::MAX).next(), Hlc::new(6, 0));
    }

    #[test]
    fn a_remote_clock_years_ahead_pulls_us_ten_minutes_at_most() {
        let mut clock = HlcClock::default();
        clock.observe(Hlc::new(u64::MAX >> 16, 0), 1000);
        assert_eq!(clock.last(), Hlc::new(1000 + MAX_AHEAD_MS, 0));
    }

    #[test]
    fn an_entry_is_later_than_its_deps_even_with_a_slow_clock() {
        let mut clock = HlcClock::default();
        let dep = Hlc::new(10_000, 7);
        assert!(clock.tick(1, dep) > dep);
    }
}
