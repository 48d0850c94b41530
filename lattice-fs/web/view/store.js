// A store: its name, the tabs, and the view that the address names.

import { html } from "../vendor/htm-preact.js";
import * as api from "../lib/api.js";
import { useLoad } from "../lib/hooks.js";
import { to } from "../lib/route.js";
import { Badge, Loaded, Title } from "./parts.js";
import { Files } from "./files.js";
import { File } from "./file.js";
import { History } from "./history.js";
import { Conflicts } from "./conflicts.js";
import { Conflict } from "./conflict.js";
import { Events } from "./events.js";

const VIEWS = { files: Files, file: File, history: History, conflicts: Conflicts, conflict: Conflict, events: Events };
const TAB = { files: "files", file: "files", history: "files", conflicts: "conflicts", conflict: "conflicts", events: "events" };

export function Store({ route }) {
  const { store: id, view, key } = route;
  const state = useLoad(() => api.get("look at the store", api.storePath(id)), [id]);
  return html`<${Loaded} of=${state}>
    ${(store) => html`<${Opened} store=${store} reload=${state.reload} view=${view} at=${key} />`}
  <//>`;
}

function Opened({ store, reload, view, at }) {
  const conflicts = store.open?.conflicts ?? 0;
  const tabs = [
    ["files", "Files", to.files(store.id), 0],
    ["conflicts", "Conflicts", to.conflicts(store.id), conflicts],
    ["events", "Events", to.events(store.id), 0],
  ];
  const Current = VIEWS[view];
  return html`<div class="store-head">
      <p class="store-name"><span class="quiet">Store</span> <strong>${store.name}</strong></p>
      <nav class="tabs" aria-label="Store ${store.name}">
        ${tabs.map(
          ([tab, text, href, n]) => html`<a key=${tab} href=${href} aria-current=${TAB[view] === tab ? "page" : undefined}>
            ${text}${n > 0 && html` <${Badge} kind="warn">${n}<//>`}
          </a>`,
        )}
      </nav>
    </div>
    ${store.broken
      ? html`<${Title} text=${store.name} />
          <div class="problem" role="alert">
            <p>This store can't be opened: ${store.broken}</p>
            <p><code>lattice doctor</code> on the daemon's machine says more.</p>
          </div>`
      : html`<${Current} key=${`${view}/${at}`} store=${store} at=${at} storeChanged=${reload} />`}`;
}
