// Small pieces that every view is made of.

import { createContext, html, useContext, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { Failure } from "../lib/api.js";
import { ago, exact, short } from "../lib/format.js";

/** Names of the members, by id. */
export const Names = createContext(new Map());
/** `announce(text)`: what a screen reader is to say. */
export const Announce = createContext(() => {});

let moved = false;
/** The next title to appear takes the focus, as a browser moves it to a new page. */
export const expectTitle = () => {
  moved = true;
};
/** For when what had the focus goes away. */
export const focusTitle = () => document.querySelector("main h1")?.focus();

/** A view's title. `sub` stands under it, `children` beside it. */
export function Title({ text, sub, children }) {
  useEffect(() => {
    if (moved) focusTitle();
    moved = false;
  }, []);
  useEffect(() => {
    document.title = `${text} · Lattice`;
  }, [text]);
  return html`<div class="title">
    <div class="title-words"><h1 tabindex="-1">${text}</h1>${sub && html`<p class="sub">${sub}</p>`}</div>
    ${children && html`<div class="actions">${children}</div>`}
  </div>`;
}

/** What failed, why, and what to do next. */
export function Problem({ error, retry }) {
  if (!error) return null;
  const known = error instanceof Failure;
  return html`<div class="problem" role="alert">
    <p><strong>${known ? `Couldn't ${error.what}.` : "This page has a fault."}</strong> ${error.message}</p>
    ${error.next && html`<p>${ticks(error.next)}</p>`}
    ${!known && html`<p>Load the page again; if it stays, report it with what you did.</p>`}
    ${retry && html`<button onClick=${retry}>Try again</button>`}
  </div>`;
}

/** The daemon's words as a sentence. */
export const sentence = (why) => `${why[0].toUpperCase()}${why.slice(1)}.`;

/** Text with `code` in backquotes. */
export function ticks(text) {
  return text.split("`").map((part, i) => (i % 2 ? html`<code>${part}</code>` : part));
}

/** A view's content once it is there; before that, that it comes, or why not. */
export function Loaded({ of, children, what = "Loading…" }) {
  if (of.data !== null) return html`<${Problem} error=${of.error} retry=${of.reload} />${children(of.data)}`;
  if (of.error) return html`<${Problem} error=${of.error} retry=${of.reload} />`;
  return html`<p class="quiet" role="status">${what}</p>`;
}

export function Time({ of, plain }) {
  return html`<time datetime=${of} title=${exact(of)}>${plain ? exact(of) : ago(of)}</time>`;
}

/** One of eight colours, the same for an author everywhere. Never the only thing that tells authors apart. */
export const colour = (id) => `author-${parseInt(id.slice(0, 4), 16) % 8}`;

export function useName() {
  const names = useContext(Names);
  return (id) => names.get(id) ?? short(id);
}

export function Author({ id }) {
  const name = useName();
  return html`<span class="author" title=${id}><span class="dot ${colour(id)}" aria-hidden="true"></span>${name(id)}</span>`;
}

export function Badge({ kind = "", children }) {
  return html`<span class="badge ${kind}">${children}</span>`;
}

export function Empty({ children }) {
  return html`<div class="empty">${children}</div>`;
}

/** A button that is busy while what it does is under way, and tells `failed` of an error. */
export function Action({ run, failed, children, kind = "", label }) {
  const [busy, setBusy] = useState(false);
  const alive = useRef(true);
  useEffect(() => () => (alive.current = false), []);
  const click = async () => {
    if (busy) return;
    setBusy(true);
    failed?.(null);
    try {
      await run();
    } catch (e) {
      failed?.(e);
    } finally {
      if (alive.current) setBusy(false);
    }
  };
  // Not disabled meanwhile: it would lose the focus.
  return html`<button class=${kind} onClick=${click} aria-busy=${busy} aria-label=${label}>${children}</button>`;
}

export function Copy({ text, label = "Copy" }) {
  const announce = useContext(Announce);
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
      announce("Copied");
      setTimeout(() => setDone(false), 2000);
    } catch {
      announce("The browser doesn't let this page copy: select the text and copy it yourself.");
    }
  };
  return html`<button onClick=${copy}>${done ? "Copied" : label}</button>`;
}

/** A question in front of the page. The browser keeps the focus in it and gives it back. */
export function Dialog({ title, close, children, wide }) {
  const at = useRef(null);
  useEffect(() => {
    const dialog = at.current;
    dialog.showModal();
    dialog.querySelector("[data-first]")?.focus();
    // Closed before it is taken away: that is what gives the focus back.
    return () => dialog.close();
  }, []);
  const cancel = (e) => {
    e.preventDefault();
    close();
  };
  return html`<dialog ref=${at} class=${wide ? "wide" : ""} aria-labelledby="dialog-title" onCancel=${cancel}>
    <h2 id="dialog-title">${title}</h2>
    ${children}
  </dialog>`;
}

/** Asks before something that can't be undone, or that surprises. */
export function Confirm({ title, verb, run, close, children }) {
  const [error, setError] = useState(null);
  const act = async () => {
    await run();
    close();
  };
  return html`<${Dialog} title=${title} close=${close}>
    <div class="prose">${children}</div>
    <${Problem} error=${error} />
    <div class="actions end">
      <button data-first onClick=${close}>Cancel</button>
      <${Action} kind="danger" run=${act} failed=${setError}>${verb}<//>
    </div>
  <//>`;
}

/** Asks for one line of text. */
export function Ask({ title, label, verb, value = "", hint, run, close }) {
  const [text, setText] = useState(value);
  const [error, setError] = useState(null);
  const submit = async (e) => {
    e.preventDefault();
    setError(null);
    try {
      await run(text);
      close();
    } catch (failed) {
      setError(failed);
    }
  };
  return html`<${Dialog} title=${title} close=${close}>
    <form onSubmit=${submit}>
      <label>${label}<input data-first value=${text} onInput=${(e) => setText(e.target.value)} required /></label>
      ${hint && html`<p class="hint">${hint}</p>`}
      <${Problem} error=${error} />
      <div class="actions end">
        <button type="button" onClick=${close}>Cancel</button>
        <button class="primary" disabled=${text === ""}>${verb}</button>
      </div>
    </form>
  <//>`;
}
