//! `/invites`: tickets for new members.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lattice_engine::access::Ticket;

use super::app::App;
use super::describe;
use super::extract;
use super::net_model::{InviteDoc, InviteRequest};
use super::problem::{Code, Problem, Result, blocking};
use super::qr;

pub async fn create(
    State(app): State<App>,
    extract::Json(request): extract::Json<InviteRequest>,
) -> Result<(StatusCode, Json<InviteDoc>)> {
    if request.expires_seconds == 0 || request.uses == 0 {
        return Err(Problem::new(Code::BadRequest, "an invite lasts some time, and is for somebody"));
    }
    let addresses = app.net()?.addresses();
    blocking(move || {
        let lasts = request.expires_seconds.saturating_mul(1000);
        let expires_ms = app.node.now_ms().saturating_add(lasts);
        let ticket = Ticket {
            genesis: app.node.root().genesis(),
            secret: app.node.invite(expires_ms, request.uses)?,
            expires_ms,
            inviter: app.node.id(),
            addresses: addresses.iter().cloned().map(Into::into).collect(),
        };
        Ok((
            StatusCode::CREATED,
            Json(InviteDoc {
                ticket: ticket.to_text(),
                invite: ticket.secret.id().to_string(),
                expires: describe::time_ms(ticket.expires_ms),
                uses: request.uses,
                addresses,
                qr: request.qr.then(|| qr::of(&ticket.to_text())).flatten(),
            }),
        ))
    })
    .await
}
