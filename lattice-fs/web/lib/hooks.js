// What views share: loading with its three outcomes, and following a store.

import { useCallback, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { Follower } from "./live.js";

/**
 * Loads when `deps` change and when `reload` is called; what was there stays meanwhile, and when that fails, unless it is
 * because there is no such thing any more. An answer that comes too late, after another was asked for, is dropped.
 */
export function useLoad(load, deps) {
  const [state, setState] = useState({ data: null, error: null, loading: true });
  const turn = useRef(0);
  const current = useRef(load);
  current.current = load;
  const reload = useCallback(async () => {
    const mine = ++turn.current;
    setState((s) => ({ ...s, loading: true }));
    try {
      const data = await current.current();
      if (mine === turn.current) setState({ data, error: null, loading: false });
    } catch (error) {
      const gone = error.status === 404;
      if (mine === turn.current) setState((s) => ({ data: gone ? null : s.data, error, loading: false }));
    }
  }, []);
  useEffect(() => {
    setState({ data: null, error: null, loading: true });
    reload();
    return () => {
      turn.current++;
    };
  }, deps);
  return { ...state, reload };
}

/** Calls `tick` every `ms` while the page is looked at, and when it is looked at again. */
export function useEvery(ms, tick) {
  const current = useRef(tick);
  current.current = tick;
  useEffect(() => {
    const look = () => document.hidden || current.current();
    const timer = setInterval(look, ms);
    document.addEventListener("visibilitychange", look);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, [ms]);
}

/**
 * Calls `changed` soon after entries arrive that touch a key that begins with `prefix`, many in one call. Begins where the
 * store was when its document was loaded, so nothing is missed between that and what the view loads.
 */
export function useChanges(store, prefix, changed) {
  const current = useRef(changed);
  current.current = changed;
  useEffect(() => {
    let timer = null;
    const soon = () => {
      timer ??= setTimeout(() => {
        timer = null;
        current.current();
      }, 200);
    };
    const since = store.open?.cursor ?? "0.0";
    const follower = new Follower(store.id, { since, prefix, onEntry: soon, onGap: soon, onState: () => {} });
    follower.start();
    return () => {
      clearTimeout(timer);
      follower.stop();
    };
  }, [store.id, prefix]);
}
