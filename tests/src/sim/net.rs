//! Connections: one stream each, between two nodes. What is sent arrives in order and whole, late, or the connection is cut.

use std::collections::VecDeque;

use lattice_engine::sync::Session;

/// A connection that hears nothing for so long is given up, on the side that hears nothing.
pub const IDLE_MS: u64 = 12_000;

pub struct Side {
    pub node: usize,
    pub life: u64,
    /// `None`: this side has ended.
    pub session: Option<Session>,
    pub timer: Option<u64>,
    /// What is on its way to here arrives no earlier than this.
    pub arrives: u64,
    /// On its way here and held up by a link that doesn't work in this direction.
    pub held: VecDeque<Vec<u8>>,
}

pub struct Connection {
    pub sides: [Side; 2],
}

impl Connection {
    pub fn is_between(&self, a: usize, b: usize) -> bool {
        let [x, y] = [self.sides[0].node, self.sides[1].node];
        (x, y) == (a, b) || (x, y) == (b, a)
    }

    /// Both sides think that it is there.
    pub fn is_whole(&self) -> bool {
        self.sides.iter().all(|s| s.session.is_some())
    }
}
