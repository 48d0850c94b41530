//! A bare iroh stream between two endpoints on loopback: what there is to be had.

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use iroh::endpoint::presets;
use iroh::{Endpoint, RelayMode};

const ALPN: &[u8] = b"bare";
const PIECE: usize = 256 << 10;

/// MB a second for so many bytes.
pub fn rate(size: u64) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(size))
}

async fn bind() -> Result<Endpoint> {
    let builder = Endpoint::builder(presets::Minimal).alpns(vec![ALPN.to_vec()]);
    let builder = builder.relay_mode(RelayMode::Disabled).clear_ip_transports();
    let builder = builder.bind_addr((Ipv4Addr::LOCALHOST, 0)).context("loopback")?;
    builder.bind().await.map_err(|e| anyhow::anyhow!("no endpoint: {e:?}"))
}

async fn measure(size: u64) -> Result<f64> {
    let (from, to) = (bind().await?, bind().await?);
    let sink = to.clone();
    let receiver = tokio::spawn(async move {
        let conn = sink.accept().await.context("a connection")?.await?;
        let mut recv = conn.accept_uni().await?;
        let mut received = 0;
        while let Some(chunk) = recv.read_chunk(PIECE).await? {
            received += chunk.len() as u64;
        }
        conn.close(0u32.into(), b"");
        anyhow::Ok(received)
    });
    let conn = from.connect(to.addr(), ALPN).await?;
    let mut send = conn.open_uni().await?;
    let piece = bytes::Bytes::from(vec![7; PIECE]);
    let began = Instant::now();
    for _ in 0..size / PIECE as u64 {
        send.write_chunk(piece.clone()).await?;
    }
    send.finish()?;
    let received = receiver.await??;
    let took = began.elapsed();
    from.close().await;
    to.close().await;
    ensure!(received == size, "{received} of {size} bytes came over the bare stream");
    Ok(size as f64 / 1e6 / took.as_secs_f64())
}
