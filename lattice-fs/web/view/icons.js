// Drawings of 20 by 20, in the colour of the text around them. They stand beside words, and say nothing by themselves.

import { html } from "../vendor/htm-preact.js";

const PATHS = {
  dir: "M2.5 5.5a1 1 0 0 1 1-1h4l2 2h7a1 1 0 0 1 1 1v8a1 1 0 0 1-1 1h-13a1 1 0 0 1-1-1z",
  file: "M5 2.5h6.5L15.5 6.5v11h-10.5zM11.5 2.5v4h4",
  symlink: "M8.5 11.5a3 3 0 0 0 4.3 0l2.6-2.6a3 3 0 0 0-4.3-4.3l-1 1M11.5 8.5a3 3 0 0 0-4.3 0l-2.6 2.6a3 3 0 0 0 4.3 4.3l1-1",
  download: "M10 3v9.5M6 9l4 4 4-4M4 16.5h12",
  upload: "M10 13V3.5M6 7l4-4 4 4M4 16.5h12",
  history: "M3.5 10a6.5 6.5 0 1 1 2 4.7M3.5 10L1.6 8M3.5 10l2-1.9M10 6v4.3l2.8 1.6",
  conflict: "M10 3L18 16.5H2zM10 8v4M10 14.2v.3",
};

export function Icon({ of }) {
  return html`<svg class="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
    <path d=${PATHS[of] ?? PATHS.file} />
  </svg>`;
}
