// Requests to the daemon that served this page. Whoever has the session's cookie is known to it; what changes something
// carries the session's CSRF token too, which other sites can't read. Every failure is a `Failure`, which says what was
// tried, why it failed and what to do next.

const ROOT = "/v1";
const session = { csrf: null };
const signedOut = new Set();

/** What to do next, where the daemon's own words don't say it. */
const NEXT = {
  "not-found": "It was never there, or what was written there counts no more. Its folder shows what there is.",
  "precondition-failed": "Somebody changed it meanwhile. Load it again and look before you save.",
  "name-taken": "Choose another name.",
  exists: "Choose another name, or replace what is there.",
  "not-authorised": "Sign in again with `lattice web`, or use a token that may do this.",
  "no-network": "`lattice status` on the daemon's machine says why there is no network.",
  "no-space": "Make room on the daemon's disk, then try again.",
  "read-only": "`lattice doctor` on the daemon's machine says what is wrong with the disk.",
  "timed-out": "Check that the other machine is running, then try again.",
  stopping: "The daemon is stopping. Try again when it is back.",
  internal: "The daemon's log has the details: `lattice paths` says where it is.",
  damaged: "`lattice fsck` on the daemon's machine says what is damaged.",
};

export class Failure extends Error {
  constructor(what, why, { status = 0, code = "", next = "" } = {}) {
    super(why);
    Object.assign(this, { what, why, status, code, next });
  }
}

export function onSignedOut(listener) {
  signedOut.add(listener);
}

function unreachable(what) {
  return new Failure(what, "The daemon doesn't answer.", {
    next: "Check that it is running (`lattice status` on its machine), then try again.",
  });
}

/** The failure that an answer with a problem document stands for. */
function failure(what, status, text) {
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // Something between the page and the daemon answered.
  }
  if (status === 401) signedOut.forEach((listener) => listener());
  const why = problem.detail || problem.title || `The answer was ${status}.`;
  return new Failure(what, why, { status, code: problem.code ?? "", next: NEXT[problem.code] ?? "" });
}

const safe = (method) => method === "GET" || method === "HEAD";

/** The headers that a request of this page carries. */
function headers(method, extra) {
  const out = { ...extra };
  if (!safe(method) && session.csrf) out["X-Lattice-CSRF"] = session.csrf;
  return out;
}

/** `what` says what is tried, to follow "Couldn't": "list notes". */
export async function request(what, method, path, { json, body, headers: extra, signal } = {}) {
  const init = { method, headers: headers(method, extra), body, signal };
  // What the browser kept of an older value is no part of this one.
  Object.assign(init, { cache: "no-store", credentials: "same-origin", redirect: "error" });
  if (json !== undefined) {
    init.body = JSON.stringify(json);
    init.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(ROOT + path, init);
  } catch (e) {
    throw e.name === "AbortError" ? e : unreachable(what);
  }
  if (!response.ok) throw failure(what, response.status, await response.text().catch(() => ""));
  return response;
}

export async function call(what, method, path, options) {
  const response = await request(what, method, path, options);
  const text = await response.text();
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    throw new Failure(what, "The answer isn't JSON.", { next: "Load the page again: the daemon may be another version." });
  }
}

export const get = (what, path, options) => call(what, "GET", path, options);
export const post = (what, path, json = {}) => call(what, "POST", path, { json });

/** Asks who we are; fails with 401 where nobody has signed in. */
export async function open() {
  const doc = await get("sign in", "/session");
  session.csrf = doc.csrf;
  return doc;
}

// ---- addresses ----

export const storePath = (store) => `/stores/${encodeURIComponent(store)}`;
export const keyPath = (store, key) => `${storePath(store)}/keys/${key}`;

/** Where the browser finds the bytes of a key by itself, for links and images. */
export function valueUrl(store, key, version) {
  return ROOT + keyPath(store, key) + (version ? `?version=${version}` : "");
}

// ---- values ----

/** At most `limit` bytes of a value: `{bytes, size, etag}`. */
export async function readStart(store, key, { version, limit, name }) {
  const path = keyPath(store, key) + (version ? `?version=${version}` : "");
  const range = { Range: `bytes=0-${limit - 1}` };
  let response;
  try {
    response = await request(`read ${name}`, "GET", path, { headers: range });
  } catch (e) {
    // An empty value has no first byte.
    if (e.status !== 416) throw e;
    response = await request(`read ${name}`, "GET", path);
  }
  const bytes = new Uint8Array(await response.arrayBuffer());
  const total = /\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "");
  return { bytes, size: total ? Number(total[1]) : bytes.length, etag: response.headers.get("ETag") };
}

/** Sends a file's bytes, telling how far it has come. `ifAbsent`: not over what is there. */
export function upload(store, key, file, { name, ifAbsent, onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const what = `upload ${name}`;
    const xhr = new XMLHttpRequest();
    xhr.open("PUT", ROOT + keyPath(store, key));
    const extra = ifAbsent ? { "If-None-Match": "*" } : {};
    Object.entries(headers("PUT", extra)).forEach(([header, value]) => xhr.setRequestHeader(header, value));
    xhr.upload.onprogress = (e) => onProgress(e.loaded, e.lengthComputable ? e.total : file.size);
    xhr.onload = () => {
      if (xhr.status >= 200 && xhr.status < 300) resolve();
      else reject(failure(what, xhr.status, xhr.responseText));
    };
    xhr.onerror = () => reject(unreachable(what));
    xhr.onabort = () => reject(new Failure(what, "It was cancelled.", { code: "cancelled" }));
    signal.addEventListener("abort", () => xhr.abort());
    xhr.send(file);
  });
}

/** Saves text over the heads that `etag` names. */
export function save(store, key, text, etag, name) {
  return call(`save ${name}`, "PUT", keyPath(store, key), { body: text, headers: etag ? { "If-Match": etag } : {} });
}

export function batch(what, store, ops) {
  return post(what, `${storePath(store)}/batch`, { ops });
}
