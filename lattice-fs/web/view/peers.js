// The machines of the mesh: which are reached, by which way and how fast, how far behind each is, and ending a membership.

import { html, useState } from "../vendor/htm-preact.js";
import * as api from "../lib/api.js";
import { milliseconds, short } from "../lib/format.js";
import { useEvery, useLoad } from "../lib/hooks.js";
import { to } from "../lib/route.js";
import { Action, Ask, Confirm, Loaded, Problem, sentence, Time, Title, useName } from "./parts.js";

const EVERY = 3000;
const STATE = { this: "this machine", refuses: "says that this machine was revoked" };

export function Peers() {
  const state = useLoad(() => api.get("list the machines", "/peers"), []);
  const [asking, ask] = useState(null);
  const [error, setError] = useState(null);
  useEvery(EVERY, state.reload);
  const close = () => ask(null);
  const peerPath = (p) => `/peers/${encodeURIComponent(p.id)}`;
  const rename = async (name) => {
    await api.call(`rename ${asking.peer.name}`, "PATCH", peerPath(asking.peer), { json: { name } });
    await state.reload();
  };
  const revoke = async () => {
    await api.call(`revoke ${asking.peer.name}`, "DELETE", peerPath(asking.peer));
    await state.reload();
  };
  const pingAll = async () => {
    await api.post("ping the machines", "/peers/ping");
    await state.reload();
  };
  return html`<${Title} text="Machines">
      <${Action} run=${pingAll} failed=${setError}>Ping all<//>
      <a class="button" href=${to.invite()}>Invite another</a>
    <//>
    <${Problem} error=${error} />
    <${Loaded} of=${state}>
      ${({ peers, revoked }) => html`${revoked && html`<div class="problem" role="alert"><p>${sentence(revoked)}</p></div>`}
      <ul class="cards machines">
        ${peers.map((p) => html`<${Peer} key=${p.id} peer=${p} ask=${ask} reload=${state.reload} path=${peerPath(p)} />`)}
      </ul>`}
    <//>
    ${asking?.what === "name" &&
    html`<${Ask} title="Rename ${asking.peer.name}" label="Name" verb="Rename" value=${asking.peer.name} run=${rename}
      close=${close} hint="Everybody in the mesh sees this name." />`}
    ${asking?.what === "revoke" &&
    html`<${Confirm} title="Revoke ${asking.peer.name}?" verb="Revoke it for good" run=${revoke} close=${close}>
      <p>
        It is cut off at once and what it writes from now on counts nowhere. What it has read it keeps. This can't be undone: to
        come back, it must join as a new machine.
      </p>
    <//>`}`;
}

function Peer({ peer: p, ask, reload, path }) {
  const name = useName();
  const [pinged, setPinged] = useState(null);
  const [error, setError] = useState(null);
  const other = p.state !== "this" && p.state !== "revoked";
  const ping = async () => {
    const { pings } = await api.post(`ping ${p.name}`, `${path}/ping`);
    setPinged(pings[0]);
    await reload();
  };
  return html`<li class="card">
    <div class="title">
      <h2><span class="state ${p.state}" aria-hidden="true"></span>${p.name}</h2>
      <span class="quiet">${STATE[p.state] ?? p.state}</span>
    </div>
    <dl>
      <dt>Id</dt><dd><code title=${p.id}>${short(p.id)}</code></dd>
      ${p.rtt_ms != null && html`<dt>Round trip</dt><dd>${milliseconds(p.rtt_ms)}</dd>`}
      ${p.path && html`<dt>Path</dt><dd><code>${p.path}</code></dd>`}
      ${p.seen && html`<dt>Last seen</dt><dd><${Time} of=${p.seen} /></dd>`}
      ${p.behind_there != null && html`<dt>Behind by</dt><dd><${Behind} peer=${p} /></dd>`}
      ${p.addresses.length > 0 && html`<dt>Addresses</dt><dd>${p.addresses.map((a) => html`<code key=${a}>${a}</code> `)}</dd>`}
      <dt>Joined</dt><dd><${Time} of=${p.added} />${p.added_by !== p.id && html`, let in by ${name(p.added_by)}`}</dd>
      ${p.last_error && html`<dt>Last attempt</dt><dd class="bad">${p.last_error}</dd>`}
    </dl>
    ${p.stores.length > 0 && html`<${Stores} stores=${p.stores} name=${p.name} />`}
    ${pinged &&
    html`<p role="status" class=${pinged.error ? "bad" : "quiet"}>
      ${pinged.error ? `No answer: ${pinged.error}` : `Answered in ${milliseconds(pinged.rtt_ms)}`}
    </p>`}
    <${Problem} error=${error} />
    ${p.state !== "revoked" &&
    html`<div class="actions">
      ${other && html`<${Action} run=${ping} failed=${setError} label="Ping ${p.name}">Ping<//>`}
      <button onClick=${() => ask({ what: "name", peer: p })} aria-label="Rename ${p.name}">Rename</button>
      ${other && html`<button onClick=${() => ask({ what: "revoke", peer: p })} aria-label="Revoke ${p.name}">Revoke</button>`}
    </div>`}
  </li>`;
}

/** In entries, over all stores, in both directions. */
function Behind({ peer: p }) {
  if (p.behind_there === 0 && p.behind_here === 0) return html`nothing: both have the same`;
  const parts = [];
  if (p.behind_there > 0) parts.push(`it lacks ${p.behind_there} of ours`);
  if (p.behind_here > 0) parts.push(`this machine lacks ${p.behind_here} of its`);
  return html`${parts.join("; ")}`;
}

function Stores({ stores, name }) {
  return html`<table>
    <caption class="hidden">Stores that are exchanged with ${name}</caption>
    <thead><tr><th scope="col">Store</th><th scope="col">It lacks</th><th scope="col">We lack</th></tr></thead>
    <tbody>
      ${stores.map((s) => html`<tr key=${s.store}>
          <th scope="row"><a href=${to.files(s.store)}>${s.name}</a></th><td>${s.behind_there}</td><td>${s.behind_here}</td>
        </tr>`)}
    </tbody>
  </table>`;
}
