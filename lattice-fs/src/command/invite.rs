//! `lattice invite`: a ticket, with which another machine becomes a member.

use clap::Args;

use super::context::Context;
use super::error::{Error, Result};
use super::times;
use crate::http::net_model::{InviteDoc, InviteRequest};
use crate::http::qr;

/// Print a ticket for another machine. Whoever has it may join: hand it over as you would a password.
#[derive(Debug, Args)]
pub struct InviteArgs {
    /// How long it is valid: 90s, 30m, 24h, 7d.
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = times::seconds)]
    expires: u64,
    /// How many machines may join by it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    uses: u32,
    /// Also show it as a QR code.
    #[arg(long)]
    qr: bool,
}

pub async fn run(ctx: &Context, args: InviteArgs) -> Result<()> {
    let request = InviteRequest { expires_seconds: args.expires, uses: args.uses, qr: false };
    let doc: InviteDoc = ctx.client().await?.post("/invites").json(&request)?.send().await?.json().await?;
    if ctx.out.json {
        return ctx.out.doc(&doc);
    }
    ctx.out.line(&doc.ticket)?;
    if args.qr {
        ctx.out.line(code(&doc.ticket)?)?;
    }
    let uses = if doc.uses == 1 { "once".into() } else { format!("{} times", doc.uses) };
    ctx.out.note(format!("valid until {}, {uses}. On the other machine: lattice join TICKET", doc.expires));
    Ok(())
}

fn code(ticket: &str) -> Result<String> {
    let code = qr::encode(ticket)
        .ok_or_else(|| Error::Failed("the ticket is too long for a QR code: hand it over as text".into()))?;
    Ok(code.render::<qrcode::render::unicode::Dense1x2>().quiet_zone(true).build())
}
