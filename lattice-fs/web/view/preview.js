// What a version holds, as far as it can be shown without running anything: text as text (HTML and scripts too), images
// by the browser's decoders, the rest as its first bytes.

import { html } from "../vendor/htm-preact.js";
import * as api from "../lib/api.js";
import * as content from "../lib/content.js";
import { size } from "../lib/format.js";
import { useLoad } from "../lib/hooks.js";
import * as keys from "../lib/key.js";
import { Loaded } from "./parts.js";

export const TEXT_LIMIT = 512 * 1024;
const HEX_LIMIT = 256;

/** The beginning of a version and what it is: `{bytes, size, etag, text, image}`. */
export async function look(store, key, version) {
  const found = await api.readStart(store, key, { version, limit: TEXT_LIMIT, name: keys.shown(keys.nameOf(key)) });
  const image = content.image(found.bytes);
  const cut = found.size > found.bytes.length;
  return { ...found, cut, image, text: image ? null : content.text(found.bytes, cut) };
}

export function Preview({ store, at, version }) {
  const state = useLoad(() => look(store, at, version), [store, at, version]);
  return html`<${Loaded} of=${state}>
    ${(found) => html`<${Shown} found=${found} store=${store} at=${at} version=${version} />`}
  <//>`;
}

export function Shown({ found, store, at, version }) {
  const name = keys.shown(keys.nameOf(at));
  if (found.size === 0) return html`<p class="empty">The file is empty.</p>`;
  if (found.image) {
    return html`<div class="picture"><img src=${api.valueUrl(store, at, version)} alt="The picture ${name}" /></div>`;
  }
  if (found.text !== null) {
    return html`<pre class="text" tabindex="0" aria-label="The text of ${name}">${found.text}</pre>
      ${found.cut && html`<p class="hint">The first ${size(TEXT_LIMIT)} of ${size(found.size)}. Download it to see all.</p>`}`;
  }
  return html`<pre class="text hex" tabindex="0" aria-label="The first bytes of ${name}">
${content.hex(found.bytes.subarray(0, HEX_LIMIT))}</pre>
    <p class="hint">Neither text nor a picture: these are its first bytes.</p>`;
}
