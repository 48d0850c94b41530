//! `lattice doctor`: looks at this machine for what a mount needs, and says what to do about what is missing. It opens
//! no store, so it works when nothing else does.

mod clock;
mod fuse;
mod places;

use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::error::{Error, Result};
use super::output::Paint;

/// Check what this machine offers, and say what to do about what is missing.
#[derive(Debug, Args)]
pub struct DoctorArgs {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    detail: String,
    /// What to do; empty where nothing is to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    advice: String,
}

fn ok(what: &'static str, detail: impl Into<String>) -> Finding {
    Finding { what, verdict: Verdict::Ok, detail: detail.into(), advice: String::new() }
}

fn warn(what: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { what, verdict: Verdict::Warn, detail: detail.into(), advice: advice.into() }
}

fn fail(what: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { what, verdict: Verdict::Fail, detail: detail.into(), advice: advice.into() }
}

pub async fn run(ctx: &Context, _: DoctorArgs) -> Result<()> {
    let mut findings = vec![fuse::device(), fuse::helper(), fuse::passthrough(), fuse::allow_other()];
    findings.push(places::config(&ctx.paths));
    findings.extend(places::directories(&ctx.paths));
    findings.extend([places::space(&ctx.paths), places::files(), clock::sane(&ctx.paths)]);
    findings.extend(fuse::stale_mounts());
    findings.extend(places::socket(ctx).await);
    let bad = findings.iter().filter(|f| f.verdict == Verdict::Fail).count();
    if ctx.out.json {
        ctx.out.doc(&serde_json::json!({ "findings": findings, "failed": bad }))?;
    } else {
        findings.iter().try_for_each(|f| print(ctx, f))?;
    }
    match bad {
        0 => Ok(()),
        n => Err(Error::Failed(format!("{n} of these must be put right before a mount works"))),
    }
}

fn print(ctx: &Context, f: &Finding) -> Result<()> {
    let verdict = match f.verdict {
        Verdict::Ok => ctx.out.paint(Paint::Good, "ok  "),
        Verdict::Warn => ctx.out.paint(Paint::Warn, "warn"),
        Verdict::Fail => ctx.out.paint(Paint::Bad, "fail"),
    };
    ctx.out.line(format!("{verdict}  {:<12}{}", f.what, f.detail))?;
    if f.advice.is_empty() { Ok(()) } else { ctx.out.line(format!("                  {}", f.advice)) }
}
