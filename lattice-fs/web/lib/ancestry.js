// Which version all of some versions come from.

function ancestors(byId, id) {
  const seen = new Set();
  const open = [id];
  while (open.length > 0) {
    const next = open.pop();
    if (seen.has(next) || !byId.has(next)) continue;
    seen.add(next);
    open.push(...byId.get(next).parents);
  }
  return seen;
}

/** The newest common ancestor that holds a file; null without one. `versions` are newest first, as the API gives them. */
export function base(versions, ids) {
  const byId = new Map(versions.map((v) => [v.entry, v]));
  const sets = ids.map((id) => ancestors(byId, id));
  const common = (v) => sets.every((set) => set.has(v.entry)) && !ids.includes(v.entry);
  return versions.find((v) => common(v) && v.kind === "file") ?? null;
}
