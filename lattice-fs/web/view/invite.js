// Inviting another machine: a ticket, as text and as a code to photograph. Whoever has it may join, so it is shown only
// here and kept nowhere.

import { html, useState } from "../vendor/htm-preact.js";
import * as api from "../lib/api.js";
import { count, exact } from "../lib/format.js";
import { useLoad } from "../lib/hooks.js";
import { Copy, Loaded, Problem, sentence, Title } from "./parts.js";

const LASTS = [
  [3600, "one hour"],
  [86400, "a day"],
  [7 * 86400, "a week"],
];

export function Invite() {
  const state = useLoad(() => api.get("say who is a member", "/peers"), []);
  return html`<${Title} text="Invite a machine"
      sub="Whoever has the ticket may join and read everything: hand it over as you would a password." />
    <${Loaded} of=${state}>
      ${({ revoked }) => (revoked ? html`<${Revoked} why=${revoked} />` : html`<${Form} />`)}
    <//>`;
}

// Nobody would let in whom this machine invites.
function Revoked({ why }) {
  return html`<div class="problem" role="alert"><p>${sentence(why)}</p></div>
    <p>Invite from another machine of the mesh: nobody takes a ticket of this one.</p>`;
}

function Form() {
  const [lasts, setLasts] = useState(86400);
  const [uses, setUses] = useState(1);
  const [made, setMade] = useState(null);
  const [error, setError] = useState(null);
  const submit = async (e) => {
    e.preventDefault();
    setError(null);
    try {
      setMade(await api.post("make an invite", "/invites", { expires_seconds: lasts, uses, qr: true }));
    } catch (failed) {
      setError(failed);
    }
  };
  return html`<form class="inline" onSubmit=${submit}>
      <label>Valid for
        <select value=${lasts} onChange=${(e) => setLasts(Number(e.target.value))}>
          ${LASTS.map(([seconds, text]) => html`<option key=${seconds} value=${seconds}>${text}</option>`)}
        </select>
      </label>
      <label>Machines
        <input type="number" min="1" max="1000" required value=${uses} onInput=${(e) => setUses(Number(e.target.value))} />
      </label>
      <button class="primary">${made ? "Make another ticket" : "Make a ticket"}</button>
    </form>
    <${Problem} error=${error} />
    ${made && html`<${Ticket} doc=${made} />`}`;
}

function Ticket({ doc }) {
  const local = doc.addresses.every((a) => /^(127\.|\[::1\])/.test(a));
  return html`<section class="ticket" aria-labelledby="ticket">
    <h2 id="ticket">The ticket</h2>
    <p class="quiet">For ${count(doc.uses, "machine")}, until ${exact(doc.expires)}.</p>
    ${local && html`<div class="notice"><p>This daemon listens on this machine only, so no other one can reach it.</p></div>`}
    <div class="ticket-body">
      ${doc.qr &&
      html`<svg class="qr" viewBox="-4 -4 ${doc.qr.size + 8} ${doc.qr.size + 8}" role="img" aria-label="The ticket as a QR code">
        <rect x="-4" y="-4" width=${doc.qr.size + 8} height=${doc.qr.size + 8} fill="#fff" />
        <path d=${doc.qr.path} fill="#000" />
      </svg>`}
      <div class="grow">
        <label>Ticket<textarea readonly rows="6" class="secret" onFocus=${(e) => e.target.select()}>${doc.ticket}</textarea></label>
        <div class="actions"><${Copy} text=${doc.ticket} label="Copy the ticket" /></div>
        <p>On the other machine, where Lattice is installed, run <code>lattice join -</code>, paste the ticket, press Enter and
          then Ctrl-D.</p>
      </div>
    </div>
  </section>`;
}
