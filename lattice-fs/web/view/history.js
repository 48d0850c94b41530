// The history of a key: who wrote which version after which, as a drawing and as a list beside it, row by row. Any version
// can be looked at, compared with the one that is shown, and restored.

import { html, useContext, useState } from "../vendor/htm-preact.js";
import * as api from "../lib/api.js";
import { count, short, size } from "../lib/format.js";
import { layout } from "../lib/graph.js";
import { useChanges, useLoad } from "../lib/hooks.js";
import * as keys from "../lib/key.js";
import { to } from "../lib/route.js";
import { Difference } from "./difference.js";
import { Crumbs } from "./files.js";
import { Graph, useTops } from "./graph.js";
import { look, Preview } from "./preview.js";
import { Announce, Author, Badge, Confirm, Dialog, Loaded, Time, Title, useName } from "./parts.js";

const LIMIT = 300;

export function History({ store, at, storeChanged }) {
  const name = keys.shown(keys.nameOf(at));
  const announce = useContext(Announce);
  const path = `${api.storePath(store.id)}/history/${at}?limit=${LIMIT}`;
  const state = useLoad(() => api.get(`read the history of ${name}`, path), [store.id, at]);
  const [asking, ask] = useState(null);
  useChanges(store, at, () => {
    state.reload();
    storeChanged();
  });
  const close = () => ask(null);
  const restore = async () => {
    const { version } = asking;
    const op = { op: "restore", ...keys.toDoc(at), version: version.entry };
    await api.batch(`restore ${name}`, store.id, [op]);
    announce("Restored");
    await state.reload();
  };
  return html`<${Crumbs} store=${store} at=${at} leaf />
    <${Title} text="History of ${name}" />
    <${Loaded} of=${state}>
      ${({ versions }) => html`
        <p class="quiet">
          ${count(versions.length, "version")}, newest first${versions.length === LIMIT ? "; older ones are left out" : ""}.${" "}
          A line leads from each version to the one that its author had seen.
        </p>
        <${Versions} versions=${versions} ask=${ask} />
        ${asking?.what === "look" &&
        html`<${Dialog} wide title="Version ${short(asking.version.entry)} of ${name}" close=${close}>
          <${Preview} store=${store.id} at=${at} version=${asking.version.entry} />
          <div class="actions end">
            <a class="button" href=${api.valueUrl(store.id, at, asking.version.entry)} download=${name}>Download</a>
            <button data-first onClick=${close}>Close</button>
          </div>
        <//>`}
        ${asking?.what === "compare" &&
        html`<${Compare} store=${store.id} at=${at} old=${asking.version} now=${versions.find((v) => v.winner)} close=${close} />`}
        ${asking?.what === "restore" &&
        html`<${Confirm} title="Restore this version?" verb="Restore it" run=${restore} close=${close}>
          <p>
            ${name} becomes what it was in version <code>${short(asking.version.entry)}</code>. That is a new version; those
            after it stay in the history.
          </p>
        <//>`}
      `}
    <//>`;
}

function Versions({ versions, ask }) {
  const [list, tops] = useTops();
  const drawn = layout(versions.map((v) => ({ id: v.entry, parents: v.parents })));
  return html`<div class="history">
    <${Graph} drawn=${drawn} versions=${versions} tops=${tops} />
    <ol class="versions" ref=${list}>
      ${versions.map((v) => html`<${Version} key=${v.entry} version=${v} ask=${ask} anyShown=${versions.some((o) => o.winner)} />`)}
    </ol>
  </div>`;
}

function Version({ version: v, ask, anyShown }) {
  const name = useName();
  const gone = v.kind === "deleted";
  const file = v.kind === "file";
  const of = `of ${name(v.author)}, ${short(v.entry)}`;
  const button = (what, text) =>
    html`<button onClick=${() => ask({ what, version: v })} aria-label="${text} the version ${of}">${text}</button>`;
  return html`<li class="version" id="version-${short(v.entry)}">
    <div class="grow">
      <p class="who"><${Author} id=${v.author} /> <${Time} of=${v.time} /></p>
      <p class="facts">
        <code>${short(v.entry)}</code>
        <span>${gone ? "deleted it" : file ? size(v.size) : v.kind}</span>
        ${v.winner && html`<${Badge} kind="good">shown<//>`} ${v.head && !v.winner && html`<${Badge} kind="warn">also current<//>`}
      </p>
    </div>
    <div class="actions tight">
      ${file && button("look", "View")} ${file && !v.winner && anyShown && button("compare", "Compare")}
      ${!gone && !v.winner && button("restore", "Restore")}
    </div>
  </li>`;
}

function Compare({ store, at, old, now, close }) {
  const state = useLoad(() => Promise.all([look(store, at, old.entry), look(store, at, now.entry)]), [old.entry, now.entry]);
  const [then, shown] = [`version ${short(old.entry)}`, "what is shown now"];
  return html`<${Dialog} wide title="Version ${short(old.entry)} and now" close=${close}>
    <${Loaded} of=${state}>
      ${([a, b]) =>
        a.text === null || b.text === null || a.cut || b.cut
          ? html`<p class="empty">Only texts of up to 512 KiB can be compared here: ${size(a.size)} then, ${size(b.size)} now.</p>`
          : html`<${Difference} left=${a.text} right=${b.text} leftName=${then} rightName=${shown} />`}
    <//>
    <div class="actions end"><button data-first onClick=${close}>Close</button></div>
  <//>`;
}
