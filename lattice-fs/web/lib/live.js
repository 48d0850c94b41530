// Following a store's events, from the last cursor that was seen. The browser's EventSource comes back by itself with
// `Last-Event-ID` after a broken connection, but gives up after an answer that isn't a stream; then this comes back, later
// each time. So nothing is missed, and where that can't be kept the daemon says so by a `gap`.
//
// Only while somebody looks: browsers allow a server six connections from all of its pages together, so a page that nobody
// sees gives its own back.

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 30000;

export class Follower {
  /**
   * `since`: the cursor after which to begin. `onState` is told `{state: "connecting" | "live" | "waiting" | "resting",
   * retryAt}`.
   */
  constructor(store, { since, prefix = "", onEntry, onGap, onState }) {
    Object.assign(this, { store, prefix, onEntry, onGap, onState });
    this.cursor = since;
    this.pause = FIRST_PAUSE;
    this.source = null;
    this.timer = null;
    this.seen = () => (document.hidden ? this.rest() : this.wake());
  }

  start() {
    document.addEventListener("visibilitychange", this.seen);
    if (document.hidden) this.rest();
    else this.open();
  }

  open() {
    this.timer = null;
    this.onState({ state: "connecting" });
    const query = `prefix=${this.prefix}&since=${encodeURIComponent(this.cursor)}`;
    const source = new EventSource(`/v1/stores/${encodeURIComponent(this.store)}/events?${query}`);
    this.source = source;
    source.onopen = () => {
      this.pause = FIRST_PAUSE;
      this.onState({ state: "live" });
    };
    source.addEventListener("entry", (e) => {
      this.cursor = e.lastEventId || this.cursor;
      this.onEntry(JSON.parse(e.data));
    });
    source.addEventListener("gap", (e) => {
      this.cursor = e.lastEventId || this.cursor;
      this.onGap(reason(e), this.cursor);
    });
    source.onerror = (e) => this.broken(e);
  }

  /** The connection's end, or an `error` event that the daemon sent before it. */
  broken(e) {
    if (typeof e.data === "string") this.onGap(reason(e), this.cursor);
    if (this.source.readyState !== EventSource.CLOSED) {
      this.onState({ state: "connecting" });
      return;
    }
    const pause = this.pause;
    this.pause = Math.min(LONGEST_PAUSE, this.pause * 2);
    this.onState({ state: "waiting", retryAt: Date.now() + pause });
    this.timer = setTimeout(() => this.open(), pause);
  }

  close() {
    clearTimeout(this.timer);
    this.timer = null;
    this.source?.close();
    this.source = null;
  }

  rest() {
    this.close();
    this.onState({ state: "resting" });
  }

  wake() {
    this.close();
    this.open();
  }

  stop() {
    document.removeEventListener("visibilitychange", this.seen);
    this.close();
  }
}

function reason(e) {
  try {
    const doc = JSON.parse(e.data);
    return doc.reason ?? doc.detail ?? e.data;
  } catch {
    return e.data;
  }
}
