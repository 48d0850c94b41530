//! Programs: what an instruction amounts to, by the id of the program that it calls.
//!
//! An instruction stands beside put, delete and attr from the first version of the format on. A *native* program is part of
//! this lattice and a pure function of the instruction: it says which operation the instruction is, and that operation is
//! then checked and applied exactly as one that was written plainly. There is one, [`sys`].
//!
//! It refuses what its program says is malformed. A program that isn't here is [`Called::Elsewhere`], never an error and
//! never nothing: such an entry is kept and relayed, and the projection of its store waits at it.

pub mod sys;

use crate::wire::{WireError, v1};

/// What calling a program gave.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart as soon as it is made: a box would be an allocation for each op"
)]
pub enum Called {
    /// The operation that the instruction is. Its parents are those of the op that carries the instruction.
    Operation(v1::op::Kind),
    /// A native program that knows of more operations than this version of it.
    Later,
    /// No native program has this id.
    Elsewhere,
}

/// Why a native program refuses its instruction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    #[error("its payload is {0}")]
    Wire(#[from] WireError),
    #[error("its payload does nothing")]
    Empty,
    #[error("{0}")]
    Malformed(&'static str),
}

/// Routes an instruction by its program id.
///
/// # Errors
/// What the program refuses.
pub fn call(instruction: &v1::Instruction) -> Result<Called, ProgramError> {
    match instruction.program_id.as_str() {
        sys::ID => sys::operation(&instruction.payload),
        _ => Ok(Called::Elsewhere),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn only_the_exact_id_is_a_native_program() {
        for id in ["", "Sys", "sys ", "sys\0", "sys2", "sy", "wasm:sys"] {
            let called = call(&v1::Instruction { program_id: id.into(), payload: Bytes::new() });
            assert_eq!(called, Ok(Called::Elsewhere), "{id:?}");
        }
        let called = call(&v1::Instruction { program_id: "sys".into(), payload: Bytes::new() });
        assert_eq!(called, Err(ProgramError::Empty));
    }
}
