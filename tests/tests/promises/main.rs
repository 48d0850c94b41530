//! The promises of SEMANTICS.md that need no mount, each at the head of its tests. Machines are nodes in temporary
//! directories with clocks that the tests set; they meet by exchanging bundles.

mod clocks;
mod conflicts;
mod convergence;
mod machine;
mod steps;
mod tampering;
