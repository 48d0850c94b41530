//! Instructions: one of `sys` is the operation in it, and every rule of that operation holds.

use super::golden::instruction;
use super::*;
use crate::program::{ProgramError, sys};
use crate::wire::v1;
use prost::Message;

/// An instruction of `sys` with these bytes.
fn raw(payload: &[u8]) -> Op {
    Op::Instruction { program_id: sys::ID.into(), payload: Bytes::copy_from_slice(payload), parents: vec![] }
}

fn with(ops: Vec<Op>) -> Draft {
    Draft { ops, ..blank() }
}

/// The payload's bytes with these instructions, as somebody without our checks would write them, decoded.
fn send(ops: &[Op]) -> Result<Decoded, EntryError> {
    let entry = with(vec![put("a", Value::Dir)]).build().expect("valid");
    let wire = |op| codec::op_to_wire(op, &entry.header).expect("parents are known");
    let payload = v1::Payload { ops: ops.iter().map(wire).collect(), nonce: Bytes::new() }.encode_to_vec();
    let mut header = v1::Header::decode(entry.header_bytes).expect("built");
    header.payload_hash = Bytes::copy_from_slice(&payload_hash(&payload));
    header.payload_len = payload.len() as u64;
    Entry::decode(header.encode_to_vec().into(), payload.into(), None)
}

/// By both doors, for the same reason.
#[track_caller]
fn refused(ops: Vec<Op>, want: &str) {
    let sent = send(&ops).expect_err("the decoder let it pass").to_string();
    assert!(sent.contains(want), "the decoder says: {sent}");
    let built = with(ops).build().expect_err("the builder let it pass").to_string();
    assert!(built.contains(want), "the builder says: {built}");
}

#[test]
fn a_malformed_payload_is_refused_like_a_malformed_op() {
    refused(vec![raw(b"")], "op 0 of the entry: its payload does nothing");
    refused(vec![raw(b"\xff")], "its payload is not protobuf");
    let delete = || instruction(Op::Delete { key: key("a"), parents: vec![] }, vec![]);
    let Op::Instruction { payload, .. } = delete() else { panic!("an instruction") };
    refused(vec![raw(&[&payload[..], &[0x82, 0x01, 0]].concat())], "not in the one valid encoding");
    let nested = v1::Instruction { program_id: sys::ID.into(), payload };
    refused(vec![raw(&sys::payload(v1::op::Kind::Instruction(nested)))], "can't carry another instruction");
    let escape = v1::op::Kind::Delete(v1::Delete { key: Bytes::from_static(b"../a") });
    refused(vec![raw(&sys::payload(escape))], "op 0 of the entry");
    let big = put("a", Value::File(Content::Inline(vec![0; MAX_INLINE + 1].into())));
    refused(vec![instruction(big, vec![])], "inline value of 4097");
    let mut cites = instruction(
        Op::Attr {
            key: Key::ROOT,
            file_id: FileId([0; 16]),
            attrs: Attrs { mode: Some(0), ..Attrs::default() },
        },
        vec![],
    );
    if let Op::Instruction { parents, .. } = &mut cites {
        parents.push(blank().prev);
    }
    refused(vec![cites], "attributes have no parents");
    let err = with(vec![raw(b"")]).build().expect_err("nothing");
    let why = OpError::Program(ProgramError::Empty);
    assert_eq!(err, EntryError::Op { index: 0, why });
}

#[test]
fn an_entry_decides_a_key_once_however_it_is_written() {
    let a = || put("a", Value::Dir);
    refused(vec![a(), instruction(a(), vec![])], "op 1 of the entry: another op");
    refused(vec![instruction(a(), vec![]), instruction(a(), vec![])], "op 1 of the entry: another op");
    let b = Op::Delete { key: key("b"), parents: vec![] };
    with(vec![a(), instruction(b, vec![])]).build().expect("two keys");
}

#[test]
fn what_only_a_later_sys_knows_is_kept_and_named() {
    let later = raw(&[0x2a, 2, 1, 2]);
    let sent = send(&[put("a", Value::Dir), later.clone()]).expect("kept");
    assert!(matches!(sent, Decoded::Unknown { why: Unreadable::OpKind { index: 1 }, .. }), "{sent:?}");
    with(vec![later]).build().expect_err("and not made here");
}

#[test]
fn an_instruction_of_another_program_stays_one_and_cites() {
    let op = Op::Instruction {
        program_id: "counter".into(),
        payload: Bytes::from_static(b"+1"),
        parents: vec![blank().prev],
    };
    let entry = with(vec![op.clone()]).build().expect("valid");
    let decoded = Entry::decode(entry.header_bytes.clone(), entry.payload_bytes.clone(), None);
    assert_eq!(known(decoded.expect("valid")).ops, [op]);
}

proptest! {
    /// Built and decoded, an instruction of `sys` is the operation in it, with the parents around it.
    #[test]
    fn an_instruction_of_sys_is_its_operation(draft in any_draft()) {
        let plain = |op: &Op| match op.clone() {
            Op::Put { key, node, new_name, .. } => Op::Put { key, node, new_name, parents: vec![] },
            Op::Delete { key, .. } => Op::Delete { key, parents: vec![] },
            other => other,
        };
        let wrap = |op: &Op| match op {
            Op::Instruction { .. } => op.clone(),
            op => instruction(plain(op), op.parents().to_vec()),
        };
        let wrapped = Draft { ops: draft.ops.iter().map(wrap).collect(), ..draft.clone() }.build()?;
        prop_assert_eq!(&wrapped.ops, &draft.ops);
        let decoded = known(Entry::decode(wrapped.header_bytes.clone(), wrapped.payload_bytes.clone(), None)?);
        prop_assert_eq!(decoded, wrapped);
    }
}
