// The keys of a store that were written in two places at once.

import { html } from "../vendor/htm-preact.js";
import * as api from "../lib/api.js";
import { count } from "../lib/format.js";
import { useChanges, useLoad } from "../lib/hooks.js";
import * as keys from "../lib/key.js";
import { to } from "../lib/route.js";
import { Icon } from "./icons.js";
import { Author, Empty, Loaded, Time, Title } from "./parts.js";

export function Conflicts({ store, storeChanged }) {
  const state = useLoad(() => api.get("list the conflicts", `${api.storePath(store.id)}/conflicts`), [store.id]);
  useChanges(store, "", () => {
    state.reload();
    storeChanged();
  });
  return html`<${Title} text="Conflicts"
      sub="What was written in two places before either had seen the other. Nothing is lost: choose, or merge." />
    <${Loaded} of=${state}>
      ${({ conflicts }) =>
        conflicts.length === 0
          ? html`<${Empty}><p><strong>No conflicts.</strong></p><p>Every file has one version.</p><//>`
          : html`<ul class="list">
              ${conflicts.map((doc) => html`<${Row} key=${keys.fromDoc(doc)} store=${store} doc=${doc} />`)}
            </ul>`}
    <//>`;
}

function Row({ store, doc }) {
  const key = keys.fromDoc(doc);
  const live = doc.heads.filter((h) => h.kind !== "deleted");
  return html`<li class="row">
    <${Icon} of="conflict" />
    <div class="grow">
      <a class="name cover" href=${to.conflict(store.id, key)}>${keys.shown(key)}</a>
      <p class="facts">
        <span>${count(live.length, "version")}</span>
        ${doc.heads.map((h) => html`<span key=${h.entry}><${Author} id=${h.author} /> <${Time} of=${h.time} /></span>`)}
      </p>
    </div>
  </li>`;
}
