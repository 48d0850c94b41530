//! Who may write: members, what their entries count for, and the invites that make new ones. Pure: no clock, no disk.
//!
//! Members are data in the root store, written by members. [`Act`] is what one entry of the root store says about them,
//! [`Acts`] is a set of acts, and [`Acts::fold`] makes [`Members`] of it: a function of the set, whatever the order in
//! which the entries arrived. [`Membership`] is what a store judges entries against ([`Membership::judge`]), and what
//! the network authorises connections against ([`Membership::contains`]).
//!
//! What a key or a value claims is never trusted: who wrote an entry (its signature) and what came before it (`prev` and
//! deps) decide. It refuses ids that don't parse, lists and names over their bounds, and acts of those who were no
//! members, each with a reason ([`Ignored`]); none of them stops the fold.
//!
//! - [`act`]: from an entry to an act; the keys and values under `nodes/`
//! - [`fold`]: which acts count
//! - [`judge`]: what an entry counts for
//! - `cutoff`: where what counts of an author ends; `name`: names as they may be shown
//! - [`invite`]: records, proofs, and whether a joiner is let in
//! - [`ticket`]: the text that carries an invite
//! - [`token`]: what lets a program in that is no member, and as far as its grant goes

pub mod act;
mod cutoff;
pub mod fold;
pub mod invite;
pub mod judge;
mod members;
mod name;
pub mod ticket;
pub mod token;

pub use act::{Act, Does, Ignored};
pub use cutoff::{Cutoff, Cutoffs};
pub use fold::Acts;
pub use invite::{Admission, InviteId, InviteRecord, Proof, Refusal, Secret, admit};
pub use judge::{Limit, Membership, Verdict};
pub use members::{Member, MemberState, Members};
pub use name::{MAX_NAME, clean_name};
pub use ticket::{Ticket, TicketError};
pub use token::{Grant, ParseTokenIdError, Scope, TokenId, TokenRecord, TokenSecret};

#[cfg(test)]
mod tests;
