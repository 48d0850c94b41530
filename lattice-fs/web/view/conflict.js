// One conflict: its versions beside each other, what differs, and settling it by picking one or by merging them. Either
// writes a new version that everybody gets; the old ones stay in the history.

import { html, useContext, useState } from "../vendor/htm-preact.js";
import * as api from "../lib/api.js";
import { base } from "../lib/ancestry.js";
import { count, exact, short, size } from "../lib/format.js";
import { useChanges, useLoad } from "../lib/hooks.js";
import * as keys from "../lib/key.js";
import { to } from "../lib/route.js";
import { Difference } from "./difference.js";
import { Crumbs } from "./files.js";
import { Merge } from "./merge.js";
import { look } from "./preview.js";
import { Action, Announce, Author, Badge, Empty, focusTitle, Loaded, Problem, Time, Title, useName } from "./parts.js";

/** The heads, and what the newest version says that all of them come from. */
async function load(store, at) {
  const name = keys.shown(keys.nameOf(at));
  const doc = await api.get(`look at ${name}`, `${api.storePath(store)}/conflicts/${at}`);
  const live = doc.heads.filter((h) => h.kind === "file");
  const found = await Promise.all(live.map((h) => look(store, at, h.entry)));
  const contents = new Map(live.map((h, i) => [h.entry, found[i]]));
  return { ...doc, contents, base: await ancestor(store, at, name, live) };
}

async function ancestor(store, at, name, live) {
  if (live.length !== 2) return null;
  const { versions } = await api.get(`read the history of ${name}`, `${api.storePath(store)}/history/${at}?limit=1000`);
  const found = base(versions, live.map((h) => h.entry));
  // A version whose bytes are gone can't help, and needn't hinder.
  return found ? look(store, at, found.entry).catch(() => null) : null;
}

export function Conflict({ store, at, storeChanged }) {
  const announce = useContext(Announce);
  const state = useLoad(() => load(store.id, at), [store.id, at]);
  const [merging, setMerging] = useState(null);
  const [error, setError] = useState(null);
  const name = keys.shown(keys.nameOf(at));
  useChanges(store, at, () => {
    if (merging === null) state.reload();
    storeChanged();
  });
  const settled = async (how) => {
    announce(how);
    setMerging(null);
    await state.reload();
    focusTitle();
    storeChanged();
  };
  const pick = (head) => async () => {
    await api.post(`keep that version of ${name}`, `${api.storePath(store.id)}/conflicts/${at}`, { pick: head.entry });
    await settled("The conflict is settled");
  };
  const save = async (text, etag) => {
    await api.save(store.id, at, text, etag, name);
    await settled("The merged version is saved");
  };
  return html`<${Crumbs} store=${store} at=${at} leaf />
    <${Title} text=${name} sub="Written in several places before either had seen the other.">
      <a class="button" href=${to.history(store.id, at)}>History</a>
    <//>
    <${Problem} error=${error} />
    <${Loaded} of=${state}>
      ${(doc) => {
        const live = doc.heads.filter((h) => h.kind !== "deleted");
        if (live.length < 2) return html`<${Settled} store=${store} at=${at} name=${name} />`;
        if (merging) return html`<${Merge} start=${merging} save=${save} close=${() => setMerging(null)} />`;
        return html`<${Versions} store=${store} at=${at} heads=${doc.heads} pick=${pick} failed=${setError} />
          <${Pair} doc=${doc} live=${live} merge=${setMerging} store=${store} at=${at} />`;
      }}
    <//>`;
}

function Settled({ store, at, name }) {
  return html`<${Empty}>
    <p><strong>The conflict is settled.</strong></p>
    <p><a href=${to.file(store.id, at)}>Look at ${name}</a>, or <a href=${to.conflicts(store.id)}>go to the other conflicts</a>.</p>
  <//>`;
}

const verb = (head) => (head.kind === "deleted" ? "Delete it" : "Keep this version");

function Versions({ heads, pick, failed }) {
  const name = useName();
  return html`<ul class="cards pair">
    ${heads.map((h) => html`<li key=${h.entry} class="card">
        <h2><${Author} id=${h.author} /></h2>
        <p class="facts">
          <span><${Time} of=${h.time} /></span>
          <span>${h.kind === "deleted" ? "deleted it" : h.kind === "file" ? size(h.size) : h.kind}</span>
          <code>${short(h.entry)}</code>
          ${h.winner && html`<${Badge} kind="good">shown now<//>`}
        </p>
        <${Action} run=${pick(h)} failed=${failed} label=${`${verb(h)}, by ${name(h.author)} of ${exact(h.time)}`}>${verb(h)}<//>
      </li>`)}
  </ul>`;
}

/** Two of the versions; with more than two, whichever are chosen. */
function Pair({ doc, live, merge, store, at }) {
  const name = useName();
  const [chosen, choose] = useState([0, 1]);
  const put = (side, n) => choose(chosen.map((c, i) => (i === side ? n : c)));
  const pair = chosen.map((i) => live[i] ?? live[0]);
  const [left, right] = pair.map((h) => doc.contents.get(h.entry));
  const [leftName, rightName] = pair.map((h, i) => label(h, pair[1 - i], name));
  const texts = left?.text != null && right?.text != null && !left.cut && !right.cut;
  const base = doc.base?.cut ? null : doc.base?.text;
  const start = { left: left?.text, right: right?.text, base, leftName, rightName, etag: doc.etag };
  return html`<section aria-labelledby="differences">
    <div class="title"><h2 id="differences">What differs</h2>
      ${texts &&
      live.length === 2 &&
      html`<div class="actions"><button class="primary" onClick=${() => merge(start)}>Merge them</button></div>`}
    </div>
    ${live.length > 2 &&
    html`<div class="choosers">${[0, 1].map(
      (side) => html`<label key=${side}>${side === 0 ? "Left" : "Right"}
        <select value=${chosen[side]} onChange=${(e) => put(side, Number(e.target.value))}>
          ${live.map((h, i) => html`<option key=${h.entry} value=${i}>${name(h.author)}, ${short(h.entry)}</option>`)}
        </select></label>`,
    )}</div>
    <p class="hint">${count(live.length, "version")}: pick one, or merge after the others are settled.</p>`}
    ${texts
      ? html`<${Difference} left=${left.text} right=${right.text} leftName=${leftName} rightName=${rightName} />`
      : html`<${Beside} store=${store} at=${at} heads=${pair} found=${[left, right]} names=${[leftName, rightName]} />`}
  </section>`;
}

/** An author's name; where both are the same author's, with the version. */
function label(head, other, name) {
  return head.author === other.author ? `${name(head.author)}, ${short(head.entry)}` : name(head.author);
}

/** Pictures beside each other; of other bytes, how many. */
function Beside({ store, at, heads, found, names }) {
  return html`<div class="beside">
    ${heads.map((h, i) => html`<figure key=${h.entry}>
        <figcaption>${names[i]}</figcaption>
        ${found[i]?.image
          ? html`<div class="picture"><img src=${api.valueUrl(store.id, at, h.entry)} alt="The picture by ${names[i]}" /></div>`
          : html`<p class="quiet">${h.kind === "file" ? `${size(h.size)}, neither a short text nor a picture` : h.kind}</p>`}
        ${h.kind === "file" &&
        html`<a class="button" href=${api.valueUrl(store.id, at, h.entry)} download=${keys.shown(keys.nameOf(at))}>
          Download to compare
        </a>`}
      </figure>`)}
  </div>`;
}
