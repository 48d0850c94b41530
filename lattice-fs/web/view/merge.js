// Merging two texts. What only one side changed is taken by itself, where it is known what both come from; what both
// changed is asked. The result can be edited before it is saved as the only version.

import { html, useMemo, useState } from "../vendor/htm-preact.js";
import { hunks, lines, merge } from "../lib/diff.js";
import { count } from "../lib/format.js";
import { Action, Problem } from "./parts.js";

function parts({ base, left, right }) {
  const [a, b] = [lines(left), lines(right)];
  if (base !== null && base !== undefined) return merge(lines(base), a, b);
  return hunks(a, b).map((h) => (h.same ? { lines: h.a } : { clash: true, a: h.a, b: h.b }));
}

/** Lines one after the other, each on a line of its own also where a text's last one has no end. */
function both(a, b) {
  const first = a.join("");
  const apart = first !== "" && b.length > 0 && !first.endsWith("\n");
  return (apart ? first + "\n" : first) + b.join("");
}

const TAKE = { a: (p) => p.a.join(""), b: (p) => p.b.join(""), both: (p) => both(p.a, p.b) };

function compose(all, choices) {
  let n = 0;
  return all.map((p) => (p.clash ? TAKE[choices[n++]](p) : p.lines.join(""))).join("");
}

export function Merge({ start, save, close }) {
  const all = useMemo(() => parts(start), [start]);
  const clashes = all.filter((p) => p.clash);
  const [choices, choose] = useState(clashes.map(() => "a"));
  const [edited, edit] = useState(null);
  const [error, setError] = useState(null);
  const locked = edited !== null;
  const text = edited ?? compose(all, choices);
  const pick = (n, side) => choose(choices.map((c, i) => (i === n ? side : c)));
  return html`<section aria-labelledby="merge">
    <h2 id="merge">Merge</h2>
    <p class="quiet">${clashes.length === 0
        ? "The changes don't touch each other: the result has both."
        : `Both changed ${count(clashes.length, "place")}: choose what to take there. The rest is merged already.`}</p>
    ${clashes.map(
      (p, n) => html`<${Clash} key=${n} n=${n} of=${p} start=${start} chosen=${choices[n]} pick=${pick} locked=${locked} />`,
    )}
    <label>Result<textarea rows="16" spellcheck=${false} value=${text} onInput=${(e) => edit(e.target.value)}></textarea></label>
    ${locked &&
    html`<div class="actions">
      <p class="hint">You have edited the result, so the choices above rest.</p>
      <button onClick=${() => edit(null)}>Undo my edits</button>
    </div>`}
    <${Problem} error=${error} />
    <div class="actions">
      <${Action} kind="primary" run=${() => save(text, start.etag)} failed=${setError}>Save as the only version<//>
      <button onClick=${close}>Back</button>
    </div>
  </section>`;
}

const shownText = (text) => (text === "" ? "(nothing)" : text);

function Clash({ n, of, start, chosen, pick, locked }) {
  const sides = [
    ["a", start.leftName, of.a.join("")],
    ["b", start.rightName, of.b.join("")],
    ["both", "Both, one after the other", null],
  ];
  return html`<fieldset class="clash" disabled=${locked}>
    <legend>Place ${n + 1}</legend>
    ${of.was && html`<div class="was"><span class="hint">Before</span><pre>${shownText(of.was.join(""))}</pre></div>`}
    ${sides.map(
      ([side, name, text]) => html`<label key=${side} class="choice ${chosen === side ? "chosen" : ""}">
        <span>
          <input type="radio" name="clash-${n}" checked=${chosen === side} onChange=${() => pick(n, side)} />
          ${" "}${name}
        </span>
        ${text !== null && html`<pre>${shownText(text)}</pre>`}
      </label>`,
    )}
  </fieldset>`;
}
