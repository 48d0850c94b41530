//! `sys`: the native program that runs the file operations. Its payload is one `lattice.v1.Op`: a put, a delete or an attr,
//! in its one valid encoding.
//!
//! It refuses an instruction inside the instruction (one meaning would have endless encodings, as deep as one likes) and
//! parents inside the payload: they stand once, in the op that carries the instruction, beside the header that they index.

use bytes::Bytes;
use prost::Message;

use crate::wire::{self, WireError, v1};

use super::{Called, ProgramError};

/// The program's id.
pub const ID: &str = "sys";

/// The payload of an instruction of `sys` that does `kind`.
pub fn payload(kind: v1::op::Kind) -> Bytes {
    v1::Op { kind: Some(kind), parent_index: Vec::new() }.encode_to_vec().into()
}

/// The operation in a payload; its parts share the payload's memory.
pub(super) fn operation(payload: &Bytes) -> Result<Called, ProgramError> {
    let op = v1::Op::decode(payload.clone()).map_err(WireError::from)?;
    let canonical = wire::is_canonical(&op, payload);
    // As for an op that stands plainly: a field that was dropped and no kind that is known here.
    if op.kind.is_none() && !canonical {
        return Ok(Called::Later);
    }
    if !canonical {
        return Err(WireError::NotCanonical { len: payload.len() }.into());
    }
    if !op.parent_index.is_empty() {
        return Err(ProgramError::Malformed(
            "the parents of an operation of sys stand outside of its payload",
        ));
    }
    match op.kind {
        None => Err(ProgramError::Empty),
        Some(v1::op::Kind::Instruction(_)) => {
            Err(ProgramError::Malformed("an instruction of sys can't carry another instruction"))
        }
        Some(kind) => Ok(Called::Operation(kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delete(key: &'static [u8]) -> v1::op::Kind {
        v1::op::Kind::Delete(v1::Delete { key: Bytes::from_static(key) })
    }

    #[test]
    fn what_was_put_in_comes_out() {
        assert_eq!(operation(&payload(delete(b"a/b"))), Ok(Called::Operation(delete(b"a/b"))));
    }

    #[test]
    fn a_payload_has_one_encoding() {
        let good = payload(delete(b"a"));
        let mut trailing = good.to_vec();
        trailing.extend_from_slice(&[0x82, 0x01, 0]);
        let mut padded = good.to_vec();
        padded[1] |= 0x80;
        padded.insert(2, 0);
        for bytes in [trailing, padded] {
            let called = operation(&bytes.into());
            assert!(matches!(called, Err(ProgramError::Wire(WireError::NotCanonical { .. }))), "{called:?}");
        }
        let called = operation(&Bytes::from_static(b"\x12"));
        assert!(matches!(called, Err(ProgramError::Wire(WireError::Malformed(_)))), "{called:?}");
    }

    #[test]
    fn instructions_and_parents_stay_outside() {
        let nested = v1::Instruction { program_id: ID.into(), payload: payload(delete(b"a")) };
        assert!(matches!(
            operation(&payload(v1::op::Kind::Instruction(nested))),
            Err(ProgramError::Malformed(_))
        ));
        let cites = v1::Op { kind: Some(delete(b"a")), parent_index: vec![0] }.encode_to_vec();
        assert!(matches!(operation(&cites.into()), Err(ProgramError::Malformed(_))));
        assert_eq!(operation(&Bytes::new()), Err(ProgramError::Empty));
    }

    #[test]
    fn an_operation_of_a_later_version_is_told_from_a_broken_one() {
        assert_eq!(operation(&Bytes::from_static(&[0x2a, 2, 1, 2])), Ok(Called::Later));
    }
}
