//! Frames on a stream: a length as protobuf writes it, then one message. Refuses a length over the cap before it makes
//! room for it.

use bytes::{BufMut, Bytes, BytesMut};
use iroh::endpoint::{ReadExactError, RecvStream, SendStream};
use prost::Message;
use tokio::io::AsyncReadExt;

use super::error::FrameError;

/// The longest varint of a 32-bit length.
const MAX_VARINT: usize = 5;

/// Reads one frame's bytes. `Ended`: the stream was finished between two frames.
pub(super) async fn read_raw(from: &mut RecvStream, cap: usize) -> Result<Bytes, FrameError> {
    let mut len = 0u64;
    for i in 0..MAX_VARINT {
        let mut byte = [0u8; 1];
        match from.read_exact(&mut byte).await {
            Ok(()) => {}
            Err(ReadExactError::FinishedEarly(_)) if i == 0 => return Err(FrameError::Ended),
            Err(e) => return Err(FrameError::Stream(e.to_string())),
        }
        len |= u64::from(byte[0] & 0x7f) << (7 * i);
        if byte[0] & 0x80 == 0 {
            return read_body(from, len, cap).await;
        }
    }
    Err(FrameError::BadLength)
}

async fn read_body(from: &mut RecvStream, len: u64, cap: usize) -> Result<Bytes, FrameError> {
    let wanted = usize::try_from(len).ok().filter(|len| *len <= cap);
    let wanted = wanted.ok_or(FrameError::TooLarge { len, cap })?;
    let mut body = BytesMut::with_capacity(wanted);
    while body.len() < wanted {
        // Straight from the packets: no zeros are written first.
        let left = wanted - body.len();
        let read = from.read_buf(&mut (&mut body).limit(left)).await;
        if read.map_err(|e| FrameError::Stream(e.to_string()))? == 0 {
            return Err(FrameError::Stream("it ends within a frame".into()));
        }
    }
    Ok(body.freeze())
}

pub(super) async fn read<M: Message + Default>(from: &mut RecvStream, cap: usize) -> Result<M, FrameError> {
    let bytes = read_raw(from, cap).await?;
    M::decode(bytes).map_err(|e| FrameError::Wire(e.into()))
}

/// The frame that holds `message`.
pub(super) fn encode(message: &impl Message) -> Bytes {
    message.encode_length_delimited_to_vec().into()
}

pub(super) async fn write(to: &mut SendStream, message: &impl Message) -> Result<(), FrameError> {
    to.write_chunk(encode(message)).await.map_err(|e| FrameError::Stream(e.to_string()))
}
