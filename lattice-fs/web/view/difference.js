// What differs between two texts: side by side where there is room, one below the other where not. Removed and added lines
// are told apart by a sign and by words for screen readers, not by colour alone.

import { html } from "../vendor/htm-preact.js";
import { hunks, lines } from "../lib/diff.js";

/** Equal lines that are shown around a change. */
const AROUND = 3;

export function Difference({ left, right, leftName, rightName }) {
  const parts = hunks(lines(left), lines(right));
  if (parts.every((p) => p.same)) return html`<p class="empty">Both hold the same.</p>`;
  return html`<div class="diff" role="group" aria-label="Differences between ${leftName} and ${rightName}" tabindex="0">
    <div class="diff-head" aria-hidden="true"><span>− ${leftName}</span><span>+ ${rightName}</span></div>
    ${parts.map((p, i) =>
      p.same
        ? html`<${Same} key=${i} part=${p} first=${i === 0} last=${i === parts.length - 1} />`
        : html`<${Changed} key=${i} part=${p} />`,
    )}
  </div>`;
}

function Same({ part, first, last }) {
  const { a } = part;
  const before = first ? 0 : AROUND;
  const after = last ? 0 : AROUND;
  const row = (i) => html`<${Both} key=${i} line=${a[i]} a=${part.atA + i} b=${part.atB + i} />`;
  if (a.length <= before + after + 1) return a.map((_, i) => row(i));
  const skipped = a.length - before - after;
  return html`${a.slice(0, before).map((_, i) => row(i))}
    <div class="diff-skip">${skipped} equal lines</div>
    ${a.slice(a.length - after).map((_, i) => row(a.length - after + i))}`;
}

function Both({ line, a, b }) {
  return html`<div class="diff-row">
    <${Line} line=${line} number=${a + 1} />
    <${Line} line=${line} number=${b + 1} extra="second" />
  </div>`;
}

function Changed({ part }) {
  const column = (side, sign, word, at) => html`<div class="diff-side">
    ${part[side].map((line, i) => html`<${Line} key=${i} line=${line} number=${at + i + 1} sign=${sign} word=${word} />`)}
  </div>`;
  return html`<div class="diff-row changed">
    ${column("a", "−", "removed", part.atA)} ${column("b", "+", "added", part.atB)}
  </div>`;
}

function Line({ line, number, sign, word, extra = "" }) {
  const kind = sign === "−" ? "minus" : sign === "+" ? "plus" : "";
  return html`<div class="diff-line ${kind} ${extra}">
    <span class="diff-number" aria-hidden="true">${number}</span>
    <span class="diff-sign" aria-hidden="true">${sign ?? " "}</span>
    ${word && html`<span class="hidden">${word}: </span>`}
    <code>${line.replace(/\r?\n$/, "") || " "}</code>
  </div>`;
}
