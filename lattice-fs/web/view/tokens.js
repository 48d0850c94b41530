// Access tokens: making one, whose secret is shown this once, and ending one, which cuts it off on every machine.

import { html, useState } from "../vendor/htm-preact.js";
import * as api from "../lib/api.js";
import { exact } from "../lib/format.js";
import { useLoad } from "../lib/hooks.js";
import * as keys from "../lib/key.js";
import { Author, Badge, Confirm, Copy, Empty, Loaded, Problem, Time, Title } from "./parts.js";

const SCOPES = [
  ["ro", "read"],
  ["rw", "read and write"],
  ["admin", "everything, members and tokens too"],
];
const SCOPE = { ro: "reads", rw: "reads and writes", admin: "may do everything" };
const LASTS = [
  [86400, "a day"],
  [30 * 86400, "30 days"],
  [365 * 86400, "a year"],
  [0, "until it is revoked"],
];

async function load() {
  const [tokens, stores] = await Promise.all([api.get("list the tokens", "/tokens"), api.get("list the stores", "/stores")]);
  return { tokens: tokens.tokens, stores: stores.stores };
}

export function Tokens() {
  const state = useLoad(load, []);
  const [made, setMade] = useState(null);
  const [ending, end] = useState(null);
  const revoke = async () => {
    await api.call(`revoke the token ${called(ending)}`, "DELETE", `/tokens/${encodeURIComponent(ending.id)}`);
    await state.reload();
  };
  return html`<${Title} text="Tokens"
      sub="What programs and scripts show instead of a password. A token works on every machine of the mesh." />
    <${Loaded} of=${state}>
      ${({ tokens, stores }) => html`
        ${made
          ? html`<${Made} token=${made} close=${() => setMade(null)} />`
          : html`<${Form} stores=${stores} made=${(doc) => (setMade(doc), state.reload())} />`}
        <section aria-labelledby="all-tokens">
          <h2 id="all-tokens">All tokens</h2>
          ${tokens.length === 0
            ? html`<${Empty}><p>There are none yet.</p><//>`
            : html`<ul class="list">${tokens.map((t) => html`<${Row} key=${t.id} token=${t} end=${end} />`)}</ul>`}
        </section>
      `}
    <//>
    ${ending &&
    html`<${Confirm} title="Revoke ${called(ending)}?" verb="Revoke it" run=${revoke} close=${() => end(null)}>
      <p>Whatever uses it is refused from now on, on every machine. It can't be brought back; a new one can be made.</p>
    <//>`}`;
}

const called = (token) => token.name || token.id;

function Row({ token: t, end }) {
  const active = t.state === "active";
  const where = t.store ? `in ${t.store_name ?? t.store}` : "in all stores";
  const prefix = keys.shown(keys.fromDoc({ key: t.prefix, key_base64: t.prefix_base64 }));
  return html`<li class="row">
    <div class="grow">
      <p><strong>${called(t)}</strong> ${!active && html`<${Badge} kind="warn">${t.state}<//>`}</p>
      <p class="facts">
        <span>
          ${SCOPE[t.scope] ?? t.scope} ${t.scope === "admin" && !t.store ? "" : where}
          ${prefix !== "" && html`, below <code>${prefix}</code>`}
        </span>
        <span>${t.expires ? html`until ${exact(t.expires)}` : "doesn't expire"}</span>
        <span>made <${Time} of=${t.created} /> on <${Author} id=${t.by} /></span>
        <code>${t.id}</code>
      </p>
    </div>
    ${active && html`<button onClick=${() => end(t)} aria-label="Revoke ${called(t)}">Revoke</button>`}
  </li>`;
}

function Form({ stores, made }) {
  const [fields, setFields] = useState({ name: "", scope: "rw", store: "", prefix: "", lasts: 30 * 86400 });
  const [error, setError] = useState(null);
  const set = (name) => (e) => setFields({ ...fields, [name]: e.target.value });
  const submit = async (e) => {
    e.preventDefault();
    setError(null);
    const { name, scope, store, prefix, lasts } = fields;
    const request = { name, scope, prefix, ...(store && { store }), ...(Number(lasts) > 0 && { expires_seconds: Number(lasts) }) };
    try {
      made(await api.post("make a token", "/tokens", request));
    } catch (failed) {
      setError(failed);
    }
  };
  const options = (all) => all.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`);
  return html`<form class="panel" onSubmit=${submit}>
    <h2>New token</h2>
    <div class="fields">
      <label>What it is for<input value=${fields.name} onInput=${set("name")} placeholder="backup script" required /></label>
      <label>It may<select value=${fields.scope} onChange=${set("scope")}>${options(SCOPES)}</select></label>
      <label>Store<select value=${fields.store} onChange=${set("store")}>
        <option value="">all stores</option>
        ${options(stores.map((s) => [s.id, s.name]))}
      </select></label>
      <label>Only below the folder<input value=${fields.prefix} onInput=${set("prefix")} placeholder="everywhere" /></label>
      <label>Valid for<select value=${fields.lasts} onChange=${set("lasts")}>${options(LASTS)}</select></label>
    </div>
    <${Problem} error=${error} />
    <div class="actions"><button class="primary">Make a token</button></div>
  </form>`;
}

function Made({ token, close }) {
  const text = `${token.id}:${token.secret}`;
  return html`<section class="panel" aria-labelledby="made">
    <h2 id="made">Token ${called(token)}</h2>
    <div class="notice"><p><strong>Copy it now.</strong> It is shown this once and kept nowhere.</p></div>
    <label>Token<input readonly class="secret" value=${text} onFocus=${(e) => e.target.select()} /></label>
    <div class="actions"><${Copy} text=${text} label="Copy the token" /><button onClick=${close}>I have it</button></div>
    <p class="hint">
      Programs send it as <code>Authorization: Bearer</code> followed by the token. Put it in a file that only you can read, not
      on a command line.
    </p>
  </section>`;
}
