// The drawing of a history. Its rows stand where those of the list beside it do, which says all of it in words.

import { html, useLayoutEffect, useRef, useState } from "../vendor/htm-preact.js";
import { short } from "../lib/format.js";
import { colour, useName } from "./parts.js";

const LANE = 20;
/** From a row's top to its version's mark. */
const DOWN = 24;

/** A ref for the list, and where its rows begin; measured again when the list changes its size. */
export function useTops() {
  const list = useRef(null);
  const [tops, setTops] = useState({ rows: [], height: 0 });
  useLayoutEffect(() => {
    const measure = () => {
      const { children, offsetTop, offsetHeight } = list.current;
      setTops({ rows: [...children].map((row) => row.offsetTop - offsetTop), height: offsetHeight });
    };
    const observer = new ResizeObserver(measure);
    observer.observe(list.current);
    return () => observer.disconnect();
  }, []);
  return [list, tops];
}

export function Graph({ drawn, versions, tops }) {
  const name = useName();
  const width = drawn.lanes * LANE + 8;
  if (tops.rows.length !== versions.length) return html`<svg class="graph" width=${width} aria-hidden="true"></svg>`;
  const x = (lane) => 14 + lane * LANE;
  const y = (row) => tops.rows[row] + DOWN;
  const authors = [...new Set(versions.map((v) => name(v.author)))].join(", ");
  return html`<svg class="graph" width=${width} height=${tops.height} viewBox="0 0 ${width} ${tops.height}" role="img"
      aria-label="How ${versions.length} versions follow each other, written by ${authors}. The list says the same.">
    ${drawn.edges.map((e, i) => {
      const [from, to] = [drawn.rows[e.from], drawn.rows[e.to]];
      return html`<path key=${i} class="edge" d=${line(x(from.lane), y(e.from), x(e.lane), x(to.lane), y(e.to))} />`;
    })}
    ${drawn.rows.map((row, i) => html`<g key=${row.id} class="node ${colour(versions[i].author)}">
        ${versions[i].head && html`<circle class="halo" cx=${x(row.lane)} cy=${y(i)} r="10" />`}
        <circle class=${versions[i].kind === "deleted" ? "dead" : ""} cx=${x(row.lane)} cy=${y(i)} r="6" />
        <title>${short(row.id)} by ${name(versions[i].author)}</title>
      </g>`)}
  </svg>`;
}

/** From a version down to its parent, by way of the lane that is kept free for it. */
function line(x1, y1, lane, x2, y2) {
  const bend = Math.min(32, (y2 - y1) / 2);
  const out = x1 === lane ? "" : `C${x1} ${y1 + bend} ${lane} ${y1} ${lane} ${y1 + bend}`;
  const back = x2 === lane ? `V${y2}` : `V${y2 - bend}C${lane} ${y2} ${x2} ${y2 - bend} ${x2} ${y2}`;
  return `M${x1} ${y1}${out}${back}`;
}
