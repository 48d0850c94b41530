// A directory of a store: what is in it, going up and down, and adding to it.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import * as api from "../lib/api.js";
import { size } from "../lib/format.js";
import { useChanges, useLoad } from "../lib/hooks.js";
import * as keys from "../lib/key.js";
import { to } from "../lib/route.js";
import { Icon } from "./icons.js";
import { Ask, Author, Confirm, Empty, Loaded, Time, Title } from "./parts.js";
import { Uploads } from "./upload.js";

const PAGE = 500;

async function list(store, dir, cursor) {
  const name = dir === "" ? store.name : keys.shown(dir);
  const prefix = dir === "" ? "" : `${dir}/`;
  const more = cursor ? `&cursor=${cursor}` : "";
  const path = `${api.storePath(store.id)}/keys?delimiter=/&limit=${PAGE}&prefix=${prefix}${more}`;
  const page = await api.get(`list ${name}`, path);
  return { keys: page.keys.map((doc) => ({ ...doc, at: keys.fromDoc(doc) })), cursor: page.cursor };
}

/** As many pages as were shown before, so that a reload doesn't fold what was unfolded. */
async function pages(store, dir, n) {
  let all = await list(store, dir);
  for (let i = 1; i < n && all.cursor; i++) {
    const next = await list(store, dir, all.cursor);
    all = { keys: [...all.keys, ...next.keys], cursor: next.cursor };
  }
  return all;
}

export function Files({ store, at, storeChanged }) {
  const [shown, show] = useState(1);
  const state = useLoad(() => pages(store, at, shown), [store.id, at]);
  useEffect(() => shown > 1 && state.reload(), [shown]);
  const [asking, ask] = useState(null);
  const changed = () => {
    state.reload();
    storeChanged();
  };
  useChanges(store, at === "" ? "" : `${at}/`, changed);
  const close = () => ask(null);
  const makeDir = async (name) => {
    const key = keys.join(at, keys.fromText(name));
    await api.batch(`make the folder ${name}`, store.id, [{ op: "mkdir", ...keys.toDoc(key) }]);
    await state.reload();
  };
  const remove = async () => {
    await api.call(`delete ${keys.shown(at)}`, "DELETE", `${api.keyPath(store.id, at)}?recursive=true`);
    location.hash = to.files(store.id, keys.parentOf(at));
  };
  const name = at === "" ? store.name : keys.shown(keys.nameOf(at));
  return html`<${Crumbs} store=${store} at=${at} />
    <${Title} text=${name}>
      <button onClick=${() => ask("dir")}>New folder</button>
      ${at !== "" && html`<button onClick=${() => ask("delete")}>Delete</button>`}
    <//>
    <${Uploads} store=${store} dir=${at} done=${changed}>
      <${Loaded} of=${state}>
        ${({ keys: found, cursor }) =>
          found.length === 0
            ? html`<${Empty}><p><strong>Nothing is here yet.</strong></p><p>Drop files here, or choose some above.</p><//>`
            : html`<${Rows} store=${store} keys=${found} />
                ${cursor && html`<p><button onClick=${() => show(shown + 1)}>Show more</button></p>`}`}
      <//>
    <//>
    ${asking === "dir" && html`<${Ask} title="New folder" label="Name" verb="Make it" run=${makeDir} close=${close} />`}
    ${asking === "delete" &&
    html`<${Confirm} title="Delete ${name}?" verb="Delete it" run=${remove} close=${close}>
      <p>The folder and all in it go away, on every machine. Each file's history keeps its versions.</p>
    <//>`}`;
}

/** The way from the store's top to here. */
export function Crumbs({ store, at, leaf }) {
  const parts = keys.segments(at);
  const dirs = parts.map((part, i) => ({ part, key: parts.slice(0, i + 1).join("/") }));
  const all = [{ part: null, key: "" }, ...dirs].slice(0, -1);
  if (all.length === 0) return null;
  return html`<nav class="crumbs" aria-label="Folders above">
    <ol>
      ${all.map(
        ({ part, key }) => html`<li key=${key}>
          <a href=${to.files(store.id, key)}>${part === null ? store.name : keys.shown(part)}</a>
        </li>`,
      )}
      ${leaf && html`<li><a href=${to.file(store.id, at)}>${keys.shown(keys.nameOf(at))}</a></li>`}
    </ol>
  </nav>`;
}

function Rows({ store, keys: found }) {
  const dirs = found.filter((k) => k.kind === "dir");
  const files = found.filter((k) => k.kind !== "dir");
  return html`<ul class="list files">${[...dirs, ...files].map((k) => html`<${Row} key=${k.at} store=${store} doc=${k} />`)}</ul>`;
}

function Row({ store, doc }) {
  const name = keys.shown(keys.nameOf(doc.at));
  const dir = doc.kind === "dir";
  const file = doc.kind === "file";
  return html`<li class="row">
    <${Icon} of=${doc.kind} />
    <div class="grow">
      <a class="name cover" href=${dir ? to.files(store.id, doc.at) : to.file(store.id, doc.at)}>${name}</a>
      <p class="facts">
        ${file && html`<span>${size(doc.size)}</span>`}
        ${!file && !dir && html`<span>${doc.kind}</span>`}
        <${Time} of=${doc.mtime} />
        ${doc.author && html`<${Author} id=${doc.author} />`}
        ${doc.conflict > 1 &&
        html`<a class="badge warn above" href=${to.conflict(store.id, doc.at)} aria-label="${doc.conflict} versions of ${name}">
          ${doc.conflict} versions
        </a>`}
      </p>
    </div>
    ${file &&
    html`<a class="quick above" href=${api.valueUrl(store.id, doc.at)} download=${name} aria-label="Download ${name}">
      <${Icon} of="download" />
    </a>`}
  </li>`;
}
