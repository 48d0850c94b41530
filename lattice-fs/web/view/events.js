// What happens in a store, as it happens. The last entries first, then everything that follows them; where something was
// missed, that is said.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import * as api from "../lib/api.js";
import { clock, short, size } from "../lib/format.js";
import { Follower } from "../lib/live.js";
import * as keys from "../lib/key.js";
import { to } from "../lib/route.js";
import { Author, Empty, Problem, Title } from "./parts.js";

const BEFORE = 50;
const KEPT = 500;
/** Keys of one entry that are shown. */
const OPS = 6;

const WORDS = { connecting: "connecting…", live: "live", paused: "paused", resting: "resting" };

export function Events({ store, storeChanged }) {
  const [rows, setRows] = useState([]);
  const [link, setLink] = useState({ state: "connecting" });
  const [paused, pause] = useState(false);
  const [error, setError] = useState(null);
  const [attempt, again] = useState(0);
  const last = useRef(null);
  useEffect(() => {
    if (paused) return setLink({ state: "paused" });
    let [follower, gone] = [null, false];
    const add = (row) => setRows((all) => [row, ...all].slice(0, KEPT));
    const newest = async () => {
      const path = `${api.storePath(store.id)}/entries?newest=true&limit=${BEFORE}`;
      return (await api.get("read the last events", path)).entries;
    };
    // What is listed below it was read before, and may count no more.
    const tellGap = async (why) => {
      const gap = { gap: why, cursor: `gap ${Date.now()}`, time: new Date().toISOString() };
      add(gap);
      const entries = await newest();
      if (gone) return;
      setRows((all) => {
        const above = all.slice(0, all.indexOf(gap) + 1);
        const there = new Set(above.map((row) => row.cursor));
        return above.length === 0 ? all : [...above, ...entries.filter((row) => !there.has(row.cursor))].slice(0, KEPT);
      });
    };
    const follow = (since) => {
      follower = new Follower(store.id, {
        since,
        onEntry: (doc) => {
          last.current = doc.cursor;
          add(doc);
          storeChanged();
        },
        onGap: (why, cursor) => {
          last.current = cursor;
          tellGap(why).catch(setError);
          storeChanged();
        },
        onState: setLink,
      });
      follower.start();
    };
    const begin = async () => {
      const entries = await newest();
      if (gone) return;
      setRows(entries);
      // From the last one on, so that nothing is missed between the two questions.
      follow(entries[0]?.cursor ?? "0.0");
    };
    setError(null);
    if (last.current) follow(last.current);
    else begin().catch((e) => gone || setError(e));
    return () => {
      gone = true;
      follower?.stop();
    };
  }, [store.id, paused, attempt]);
  return html`<${Title} text="Events">
      <${Link} link=${link} />
      <button aria-pressed=${paused} onClick=${() => pause(!paused)}>${paused ? "Go on" : "Pause"}</button>
    <//>
    <${Problem} error=${error} retry=${() => again(attempt + 1)} />
    ${rows.length === 0 && !error && html`<${Empty}><p>Nothing has happened yet.</p><//>`}
    <ul class="list events" aria-label="Events, newest first">
      ${rows.map((row) =>
        row.gap
          ? html`<${Gap} key=${row.cursor} row=${row} />`
          : html`<${Entry} key=${row.cursor} store=${store.id} row=${row} />`,
      )}
    </ul>`;
}

function Link({ link }) {
  const [, tick] = useState(0);
  const waiting = link.state === "waiting";
  useEffect(() => {
    if (!waiting) return undefined;
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [waiting]);
  const left = waiting ? Math.max(0, Math.ceil((link.retryAt - Date.now()) / 1000)) : 0;
  return html`<span class="badge ${link.state === "live" ? "good" : "warn"}" role="status">
    ${waiting ? `the daemon doesn't answer; again in ${left} s` : WORDS[link.state]}
  </span>`;
}

function Gap({ row }) {
  return html`<li class="row gap">
    <time class="when" datetime=${row.time}>${clock(row.time)}</time>
    <p class="grow">
      <strong>Events don't tell all here:</strong> ${row.gap}. Files and conflicts are shown as they are now all the same.
    </p>
  </li>`;
}

const VERBS = { put: "wrote", delete: "deleted", attr: "changed the attributes of", instruction: "ran" };

function Entry({ store, row }) {
  return html`<li class="row">
    <time class="when" datetime=${row.time} title=${row.time}>${clock(row.time)}</time>
    <div class="grow">
      <p class="who"><${Author} id=${row.author} /> <code class="quiet">${short(row.entry)}</code></p>
      ${row.ops.slice(0, OPS).map((op, i) => html`<${Op} key=${i} store=${store} op=${op} />`)}
      ${row.ops.length > OPS && html`<p class="facts">and ${row.ops.length - OPS} more</p>`}
      ${row.ops.length === 0 && html`<p class="facts">nothing that concerns a key</p>`}
    </div>
  </li>`;
}

function Op({ store, op }) {
  if (op.key === undefined) return html`<p class="op">${VERBS[op.op]} ${op.program ?? ""}</p>`;
  const key = keys.fromDoc(op);
  const name = key === "" ? "the top folder" : keys.shown(key);
  const href = op.kind === "dir" || key === "" ? to.files(store, key) : to.file(store, key);
  return html`<p class="op">
    ${VERBS[op.op]} <a href=${href}>${name}</a>
    ${op.kind === "file" && op.size !== undefined && html` <span class="quiet">${size(op.size)}</span>`}
    ${op.kind === "dir" && html` <span class="quiet">folder</span>`}
  </p>`;
}
