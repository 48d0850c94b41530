// What there is: the stores, how many machines have all of each, and what needs somebody's attention.

import { html, useState } from "../vendor/htm-preact.js";
import * as api from "../lib/api.js";
import { count, short, size } from "../lib/format.js";
import { useEvery, useLoad } from "../lib/hooks.js";
import { to } from "../lib/route.js";
import { holders, spread } from "../lib/spread.js";
import { Ask, Badge, Empty, Loaded, sentence, Title } from "./parts.js";

const EVERY = 4000;

export function Overview() {
  const state = useLoad(() => api.get("look at this machine", "/status"), []);
  const [asking, ask] = useState(false);
  useEvery(EVERY, state.reload);
  const create = async (name) => {
    await api.post(`make the store ${name}`, "/stores", { name });
    await state.reload();
  };
  return html`<${Title} text="Overview">
      <button onClick=${() => ask(true)}>New store</button>
    <//>
    ${asking &&
    html`<${Ask} title="New store" label="Name" verb="Make it" run=${create} close=${() => ask(false)}
      hint="It is there on every machine of this mesh." />`}
    <${Loaded} of=${state}>
      ${({ stores, peers, ...node }) => html`
        <${Attention} stores=${stores} network=${node.network} revoked=${node.revoked} />
        <section aria-labelledby="stores">
          <h2 id="stores">Stores</h2>
          ${stores.length === 0
            ? html`<${Empty}><p>No store yet. Make one to put files in.</p><//>`
            : html`<ul class="cards">${stores.map((s) => html`<${StoreCard} key=${s.id} store=${s} peers=${peers} />`)}</ul>`}
        </section>
        <${Machines} peers=${peers} />
        <${Node} node=${node} />
      `}
    <//>`;
}

/** What somebody should look at, in words; nothing where all is well. */
function Attention({ stores, network, revoked }) {
  const ofStores = stores.flatMap((s) => [
    s.broken && `The store ${s.name} can't be opened: ${s.broken}`,
    s.open?.read_only && `The store ${s.name} is read-only: ${s.open.read_only}`,
    s.open?.stalled && `The store ${s.name} waits for a newer Lattice: ${s.open.stalled}`,
    s.open?.forked?.length > 0 &&
      `In the store ${s.name}, ${s.open.forked.map(short).join(", ")} wrote from a copied data directory or a restored backup.`,
  ]);
  const said = [
    revoked && sentence(revoked),
    network && `There is no network, so nothing is exchanged: ${network}`,
    ...ofStores,
  ].filter(Boolean);
  if (said.length === 0) return null;
  return html`<div class="problem" role="alert">
    ${said.map((text) => html`<p key=${text}>${text}</p>`)}
    <p><code>lattice doctor</code> on the daemon's machine says more.</p>
  </div>`;
}

function StoreCard({ store, peers }) {
  const { open } = store;
  return html`<li class="card store">
    <h3><a class="cover" href=${to.files(store.id)}>${store.name}</a></h3>
    ${open
      ? html`<p class="facts">
            <span>${count(open.live_keys, "key")}</span>
            <span>${size(open.log_bytes + open.pack_bytes + open.state_bytes)} on this disk</span>
          </p>
          ${open.conflicts > 0 &&
          html`<p><a class="badge warn above" href=${to.conflicts(store.id)}>${count(open.conflicts, "conflict")}</a></p>`}
          <${Spread} store=${store} peers=${peers} />`
      : html`<p><${Badge} kind="warn">not open<//></p>`}
  </li>`;
}

/** "2 of 3 other machines have everything", with a bar. */
function Spread({ store, peers }) {
  const { have, others } = holders(store.id, peers);
  if (others === 0) return html`<p class="quiet">On this machine only. <a class="above" href=${to.invite()}>Invite another</a></p>`;
  return html`<div class="spread">
    <p>${spread(have, others)}</p>
    <div class="bar" aria-hidden="true">
      ${Array.from({ length: Math.min(others, 24) }, (_, i) => html`<i key=${i} class=${i < have ? "on" : ""}></i>`)}
    </div>
  </div>`;
}

function Machines({ peers }) {
  const active = peers.filter((p) => p.state !== "revoked");
  return html`<section aria-labelledby="machines">
    <h2 id="machines">Machines</h2>
    <ul class="list">
      ${active.map(
        (p) => html`<li key=${p.id} class="row">
          <span class="state ${p.state}" aria-hidden="true"></span>
          <span class="grow short"><strong>${p.name}</strong> <code class="quiet">${short(p.id)}</code></span>
          <span class="quiet">${p.state === "this" ? "this machine" : p.state}</span>
        </li>`,
      )}
    </ul>
    <p><a href=${to.peers()}>More about the machines</a></p>
  </section>`;
}

function Node({ node }) {
  return html`<section aria-labelledby="node">
    <h2 id="node">This machine</h2>
    <dl class="panel">
      <dt>Name</dt><dd>${node.name ?? "none"}</dd>
      <dt>Id</dt><dd><code title=${node.node}>${short(node.node)}</code></dd>
      <dt>Version</dt><dd>${node.version}</dd>
      <dt>Addresses</dt>
      <dd>${node.addresses.length > 0 ? node.addresses.map((a) => html`<code key=${a}>${a}</code> `) : "none"}</dd>
      ${node.mounts.map(
        (m) => html`<dt key=${`t ${m.dir}`}>Mounted</dt>
          <dd key=${m.dir}>${m.store ?? "all stores"} at <code>${m.dir}</code></dd>`,
      )}
    </dl>
  </section>`;
}
