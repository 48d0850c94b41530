//! `lattice invite`: a ticket, with which another machine becomes a member.

use clap::Args;

use super::context::Context;
use super::error::{Error, Result};
use crate::http::net_model::{InviteDoc, InviteRequest};
use crate::http::qr;

/// Print a ticket for another machine. Whoever has it may join: hand it over as you would a password.
#[derive(Debug, Args)]
pub struct InviteArgs {
    /// How long it is valid: 90s, 30m, 24h, 7d.
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = seconds)]
    expires: u64,
    /// How many machines may join by it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    uses: u32,
    /// Also show it as a QR code.
    #[arg(long)]
    qr: bool,
}

fn seconds(text: &str) -> std::result::Result<u64, String> {
    let wrong = || format!("{text:?} is no time: write 90s, 30m, 24h or 7d");
    let unit = match text.chars().last().ok_or_else(wrong)? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|s| (1..=366 * 86400).contains(s)).ok_or_else(wrong)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("24h"), Ok(86400));
        assert_eq!(seconds("7d"), Ok(7 * 86400));
        for bad in ["", "h", "24", "0s", "1y", "-1h", "99999999d", "1é"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
