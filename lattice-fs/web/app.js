// The page: who is signed in, where we are, and the frame around every view.

import { html, render, useEffect, useState } from "./vendor/htm-preact.js";
import * as api from "./lib/api.js";
import { useEvery, useLoad } from "./lib/hooks.js";
import { parse, to } from "./lib/route.js";
import { Announce, expectTitle, focusTitle, Names, Problem, Title } from "./view/parts.js";
import { Overview } from "./view/overview.js";
import { Store } from "./view/store.js";
import { Peers } from "./view/peers.js";
import { Invite } from "./view/invite.js";
import { Tokens } from "./view/tokens.js";

const NAV = [
  ["overview", "Overview"],
  ["peers", "Machines"],
  ["invite", "Invite"],
  ["tokens", "Tokens"],
];
const NAMES_EVERY = 30000;

function useRoute() {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const moved = () => {
      expectTitle();
      scrollTo(0, 0);
      setHash(location.hash);
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return hash;
}

function View({ route }) {
  switch (route.view) {
    case "overview":
      return html`<${Overview} />`;
    case "peers":
      return html`<${Peers} />`;
    case "invite":
      return html`<${Invite} />`;
    case "tokens":
      return html`<${Tokens} />`;
    case "lost":
      return html`<${Title} text="There is nothing here" />
        <p>The address leads nowhere. <a href=${to.overview()}>Go to the overview</a>.</p>`;
    default:
      return html`<${Store} key=${route.store} route=${route} />`;
  }
}

/** Asks again when somebody comes back to this tab, from one in which they may have opened the link. */
function SignedOut({ error, again }) {
  useEffect(() => {
    addEventListener("focus", again);
    return () => removeEventListener("focus", again);
  }, []);
  return html`<main id="main" class="signed-out">
    <h1 tabindex="-1">Sign in</h1>
    <p>On the machine that runs the daemon, run</p>
    <pre><code>lattice web</code></pre>
    <p>and open the link that it prints. It works once, and only for a few minutes.</p>
    ${error.status === 401
      ? html`<div class="actions"><button onClick=${again}>I have opened it in another tab</button></div>`
      : html`<${Problem} error=${error} retry=${again} />`}
  </main>`;
}

function Frame({ children, current, signOut }) {
  const skip = (e) => {
    e.preventDefault();
    focusTitle();
  };
  return html`<a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <header>
      <a class="brand" href=${to.overview()}><img src="icon.svg" alt="" width="24" height="24" />Lattice</a>
      <nav aria-label="Main">
        ${NAV.map(
          ([view, text]) =>
            html`<a key=${view} href=${to[view]()} aria-current=${view === current ? "page" : undefined}>${text}</a>`,
        )}
      </nav>
      <button class="plain" onClick=${signOut}>Sign out</button>
    </header>
    <main id="main">${children}</main>`;
}

function App() {
  const hash = useRoute();
  const route = parse(hash);
  const session = useLoad(api.open, []);
  const peers = useLoad(() => (session.data ? api.get("list the machines", "/peers") : null), [session.data]);
  const [said, announce] = useState("");
  const [out, setOut] = useState(null);
  useEffect(() => api.onSignedOut(() => setOut(new api.Failure("go on", "The session has ended.", { status: 401 }))), []);
  useEvery(NAMES_EVERY, () => session.data && peers.reload());
  const again = async () => {
    setOut(null);
    await session.reload();
  };
  const signOut = async () => {
    const done = new api.Failure("go on", "You have signed out.", { status: 401 });
    setOut(await api.call("sign out", "DELETE", "/session").then(() => done, (failed) => failed));
  };
  const error = out ?? session.error;
  if (error) return html`<${SignedOut} error=${error} again=${again} />`;
  if (!session.data) return html`<main id="main"><p class="quiet">Loading…</p></main>`;
  const names = new Map((peers.data?.peers ?? []).map((p) => [p.id, p.name]));
  return html`<${Names.Provider} value=${names}>
    <${Announce.Provider} value=${announce}>
      <${Frame} current=${route.view} signOut=${signOut}><${View} route=${route} /><//>
      <div class="hidden" role="status" aria-live="polite">${said}</div>
    <//>
  <//>`;
}

render(html`<${App} />`, document.getElementById("app"));
