async (seed) => {
  const diff = await import("/lib/diff.js");
  const keys = await import("/lib/key.js");
  const { layout } = await import("/lib/graph.js");
  const { base } = await import("/lib/ancestry.js");
  const failed = [];
  const same = (what, a, b) => {
    const [left, right] = [JSON.stringify(a), JSON.stringify(b)];
    if (left !== right && failed.length < 5) failed.push(`${what}: ${left} is not ${right}`);
  };
  // Mulberry32: small, and the same on every machine.
  let state = seed >>> 0;
  const below = (n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
  const some = (n, make) => Array.from({ length: below(n) }, make);
  const text = () => some(9, () => "abc"[below(3)] + "\n").join("") + (below(2) ? "" : "end");

  /** The longest common subsequence, the slow way. */
  const common = (a, b) => {
    let row = new Array(b.length + 1).fill(0);
    for (const x of a) {
      const next = [0];
      b.forEach((y, j) => next.push(x === y ? row[j] + 1 : Math.max(row[j + 1], next[j])));
      row = next;
    }
    return row[b.length];
  };
  const side = (parts, s) => parts.flatMap((p) => (p.clash ? p[s] : p.lines)).join("");

  for (let i = 0; i < 3000; i++) {
    const [o, a, b] = [text(), text(), text()];
    const [lo, la, lb] = [o, a, b].map(diff.lines);
    same("lines give the text back", la.join(""), a);
    const parts = diff.hunks(la, lb);
    same("a difference has all of the left", parts.flatMap((p) => p.a).join(""), a);
    same("and all of the right", parts.flatMap((p) => p.b).join(""), b);
    same("no line more differs than must", diff.matches(la, lb).length, common(la, lb));
    same("a merge with what didn't change is the change", side(diff.merge(lo, la, lo), "a"), a);
    same("on either side", side(diff.merge(lo, lo, lb), "b"), b);
    same("the same change twice is no clash", diff.merge(lo, la, la).some((p) => p.clash), false);
  }

  for (let i = 0; i < 2000; i++) {
    const bytes = some(12, () => 1 + below(255));
    const key = keys.fromDoc({ key: "", key_base64: btoa(String.fromCharCode(...bytes)) });
    same("a key's bytes make the round trip", [...keys.bytesOf(key)], bytes);
    same("through the address bar", keys.fromAddress(key), key);
    same("through a document", keys.fromDoc(keys.toDoc(key)), key);
    same("nothing hides", /[\u0000-\u001f\u202e\u200b]/.test(keys.shown(key)), false);
  }

  for (let i = 0; i < 500; i++) {
    const versions = Array.from({ length: 1 + below(12) }, (_, n) => ({ id: `v${n}` }));
    versions.forEach((v, n) => {
      v.parents = versions.slice(n + 1).filter(() => below(3) === 0).map((p) => p.id);
    });
    const { rows, edges, lanes } = layout(versions);
    same("every line is drawn", edges.length, versions.reduce((n, v) => n + v.parents.length, 0));
    for (const { from, to, lane } of edges) {
      const crossed = rows.slice(from + 1, to).some((row) => row.lane === lane);
      same("a line crosses no version", crossed, false);
    }
    same("all lanes are counted", rows.every((row) => row.lane < lanes) && edges.every((e) => e.lane < lanes), true);
  }

  const straight = ["c", "b", "a"].map((id, n, all) => ({ id, parents: all.slice(n + 1, n + 2) }));
  same("a straight history is a straight line", layout(straight).lanes, 1);

  const history = [
    { entry: "l", kind: "file", parents: ["o"] },
    { entry: "r", kind: "file", parents: ["o"] },
    { entry: "o", kind: "file", parents: ["d"] },
    { entry: "d", kind: "deleted", parents: [] },
  ];
  same("the base is what both come from", base(history, ["l", "r"])?.entry, "o");
  same("a deletion is no base", base(history.map((v) => ({ ...v, kind: v.entry === "o" ? "deleted" : v.kind })), ["l", "r"]), null);
  return failed;
}
