// A file: what it holds, where it comes from, and what can be done with it.

import { html, useContext, useState } from "../vendor/htm-preact.js";
import * as api from "../lib/api.js";
import { exact, size } from "../lib/format.js";
import { useChanges, useLoad } from "../lib/hooks.js";
import * as keys from "../lib/key.js";
import { to } from "../lib/route.js";
import { Crumbs } from "./files.js";
import { Icon } from "./icons.js";
import { look, Shown } from "./preview.js";
import { Announce, Ask, Author, Confirm, Empty, Loaded, Problem, Time, Title } from "./parts.js";

async function load(store, at) {
  const name = keys.shown(keys.nameOf(at));
  const heads = await api.get(`look at ${name}`, `${api.storePath(store)}/conflicts/${at}`);
  const head = heads.heads.find((h) => h.winner) ?? heads.heads[0];
  const live = heads.heads.filter((h) => h.kind !== "deleted");
  // By its id: what is shown is what `etag` names, also where another version comes in between.
  const found = head.kind === "file" || head.kind === "symlink" ? await look(store, at, head.entry) : null;
  return { head, live: live.length, etag: heads.etag, found };
}

export function File({ store, at, storeChanged }) {
  const state = useLoad(() => load(store.id, at), [store.id, at]);
  const [editing, edit] = useState(null);
  const [asking, ask] = useState(null);
  useChanges(store, at, () => {
    if (editing === null) state.reload();
    storeChanged();
  });
  const name = keys.shown(keys.nameOf(at));
  const close = () => ask(null);
  const remove = async () => {
    await api.call(`delete ${name}`, "DELETE", api.keyPath(store.id, at));
    location.hash = to.files(store.id, keys.parentOf(at));
  };
  const rename = async (text) => {
    const next = keys.fromText(text.replace(/^\/+/, ""));
    const op = { op: "rename", ...keys.toDoc(at), ...keys.toDoc(next, "to"), no_replace: true };
    await api.batch(`rename ${name}`, store.id, [op]);
    location.hash = to.file(store.id, next);
  };
  return html`<${Crumbs} store=${store} at=${at} />
    <${Title} text=${name}>
      <a class="button" href=${to.history(store.id, at)}><${Icon} of="history" />History</a>
      <a class="button" href=${api.valueUrl(store.id, at)} download=${name}><${Icon} of="download" />Download</a>
    <//>
    <${Loaded} of=${state}>
      ${(data) => html`
        <${Facts} store=${store} at=${at} data=${data} />
        ${data.head.kind === "deleted" && html`<${Empty}><p>It is deleted. Its history keeps its versions.</p><//>`}
        ${data.found &&
        editing === null &&
        html`<${Shown} found=${data.found} store=${store.id} at=${at} version=${data.head.entry} />`}
        ${editing !== null &&
        html`<${Editor} store=${store} at=${at} start=${editing} close=${() => edit(null)} saved=${state.reload} />`}
        ${editing === null &&
        data.head.kind !== "deleted" &&
        html`<div class="actions">
          ${editable(data) && html`<button onClick=${() => edit({ text: data.found.text, etag: data.etag })}>Edit</button>`}
          <button onClick=${() => ask("rename")}>Rename or move</button>
          <button onClick=${() => ask("delete")}>Delete</button>
        </div>`}
      `}
    <//>
    ${asking === "rename" &&
    html`<${Ask} title="Rename or move" label="New path in ${store.name}" verb="Move it" value=${keys.toDoc(at).key} run=${rename}
      close=${close} />`}
    ${asking === "delete" &&
    html`<${Confirm} title="Delete ${name}?" verb="Delete it" run=${remove} close=${close}>
      <p>It goes away on every machine. Its history keeps its versions.</p>
    <//>`}`;
}

/** A short text; not one in conflict, for saving would settle that. */
const editable = ({ head, live, found }) => head.kind === "file" && live === 1 && found.text !== null && !found.cut;

function Facts({ store, at, data }) {
  const { head, live } = data;
  return html`<p class="facts spaced">
      <span>${head.kind === "file" ? size(head.size) : head.kind}</span>
      <span><${Time} of=${head.time} /></span>
      <span>by <${Author} id=${head.author} /></span>
    </p>
    ${live > 1 &&
    html`<div class="notice"><p>
      <strong>${live} versions were written at the same time.</strong> This one, of ${exact(head.time)}, is shown.${" "}
      <a href=${to.conflict(store.id, at)}>Compare them and choose</a>
    </p></div>`}`;
}

/** Saves over exactly the version that was read. */
function Editor({ store, at, start, close, saved }) {
  const announce = useContext(Announce);
  const [text, setText] = useState(start.text);
  const [error, setError] = useState(null);
  const save = async (e) => {
    e.preventDefault();
    setError(null);
    try {
      await api.save(store.id, at, text, start.etag, keys.shown(keys.nameOf(at)));
      announce("Saved");
      close();
      saved();
    } catch (failed) {
      setError(failed);
    }
  };
  return html`<form class="editor" onSubmit=${save}>
    <label>Text<textarea rows="18" spellcheck=${false} value=${text} onInput=${(e) => setText(e.target.value)}></textarea></label>
    <${Problem} error=${error} />
    <div class="actions"><button class="primary">Save</button><button type="button" onClick=${close}>Cancel</button></div>
  </form>`;
}
