// Where we are: the part of the address after `#`, so that the daemon serves one page and Back works. A store's key stands
// there as it stands in every other address.

import { fromAddress } from "./key.js";

const enc = encodeURIComponent;

export const to = {
  overview: () => "#/",
  peers: () => "#/peers",
  invite: () => "#/invite",
  tokens: () => "#/tokens",
  files: (store, dir = "") => `#/store/${enc(store)}/files/${dir}`,
  file: (store, key) => `#/store/${enc(store)}/file/${key}`,
  history: (store, key) => `#/store/${enc(store)}/history/${key}`,
  conflicts: (store) => `#/store/${enc(store)}/conflicts/`,
  conflict: (store, key) => `#/store/${enc(store)}/conflicts/${key}`,
  events: (store) => `#/store/${enc(store)}/events/`,
};

const PLAIN = new Set(["peers", "invite", "tokens"]);
const OF_STORE = new Set(["files", "file", "history", "conflicts", "events"]);

/** `{view, store, key}`; `{view: "lost"}` where the address leads nowhere. */
export function parse(hash) {
  const path = hash.replace(/^#?\/?/, "");
  if (path === "") return { view: "overview" };
  if (PLAIN.has(path)) return { view: path };
  const [word, store, view, ...rest] = path.split("/");
  if (word !== "store" || !store || !OF_STORE.has(view)) return { view: "lost" };
  const key = fromAddress(rest.join("/").replace(/^\/+|\/+$/g, ""));
  if (key === "" && (view === "file" || view === "history")) return { view: "lost" };
  return { view: view === "conflicts" && key !== "" ? "conflict" : view, store: fromStore(store), key };
}

function fromStore(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
