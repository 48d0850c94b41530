//! The HTTP sidecar from outside, as a program, a stranger or somebody's web page meets it: a real daemon, real connections, no
//! mount.

mod bad_input;
mod described;
mod events;
mod page;
mod served;
mod tls;
mod tokens;
mod values;
