// What differs between texts, line by line: Myers' algorithm, and a three-way merge on top of it. Pure; refuses texts
// that would keep the page busy.

/** Edits that are searched for. Beyond that the texts have little in common, and are shown as replaced. */
const MAX_EDITS = 2000;

/** Lines with their ends, so that joining them gives the text back to the byte. */
export function lines(text) {
  return text === "" ? [] : text.match(/[^\n]*\n|[^\n]+$/g);
}

/** Pairs of equal lines, as [index in a, index in b], ascending in both. */
export function matches(a, b) {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let endA = a.length;
  let endB = b.length;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) {
    endA--;
    endB--;
  }
  const pairs = [];
  for (let i = 0; i < start; i++) pairs.push([i, i]);
  for (const [i, j] of myers(a.slice(start, endA), b.slice(start, endB))) pairs.push([i + start, j + start]);
  for (let i = 0; endA + i < a.length; i++) pairs.push([endA + i, endB + i]);
  return pairs;
}

function myers(a, b) {
  if (a.length === 0 || b.length === 0) return [];
  const max = Math.min(a.length + b.length, MAX_EDITS);
  const best = new Map([[1, 0]]);
  const trace = [];
  for (let d = 0; d <= max; d++) {
    trace.push(new Map(best));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && (best.get(k - 1) ?? -1) < (best.get(k + 1) ?? -1));
      let x = down ? best.get(k + 1) : best.get(k - 1) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      best.set(k, x);
      if (x >= a.length && x - k >= b.length) return backtrack(trace, a, b);
    }
  }
  return [];
}

function backtrack(trace, a, b) {
  const pairs = [];
  let x = a.length;
  let y = b.length;
  for (let d = trace.length - 1; d >= 0; d--) {
    const best = trace[d];
    const k = x - y;
    const down = k === -d || (k !== d && (best.get(k - 1) ?? -1) < (best.get(k + 1) ?? -1));
    const fromK = down ? k + 1 : k - 1;
    const fromX = best.get(fromK) ?? 0;
    const fromY = fromX - fromK;
    while (x > 0 && y > 0 && x > fromX && y > fromY) pairs.push([--x, --y]);
    x = fromX;
    y = fromY;
  }
  return pairs.reverse();
}

/** Stretches of `{same: true, a, b}` and `{same: false, a, b}`: the lines of either side. */
export function hunks(a, b) {
  const out = [];
  let [i, j] = [0, 0];
  for (const [x, y] of [...matches(a, b), [a.length, b.length]]) {
    if (x > i || y > j) out.push({ same: false, a: a.slice(i, x), b: b.slice(j, y), atA: i, atB: j });
    if (x < a.length && y < b.length) {
      const last = out[out.length - 1];
      if (last?.same && last.atA + last.a.length === x) {
        last.a.push(a[x]);
        last.b.push(b[y]);
      } else {
        out.push({ same: true, a: [a[x]], b: [b[y]], atA: x, atB: y });
      }
    }
    [i, j] = [x + 1, y + 1];
  }
  return out;
}

/**
 * Stretches of a three-way merge: `{lines, from}` where at most one side changed the base (or both alike), and
 * `{clash: true, a, b, was}` where both did, differently.
 */
export function merge(base, a, b) {
  const inA = new Map(matches(base, a));
  const inB = new Map(matches(base, b));
  const out = [];
  let [o, i, j] = [0, 0, 0];
  const settle = (nextO, nextI, nextJ) => {
    const [was, left, right] = [base.slice(o, nextO), a.slice(i, nextI), b.slice(j, nextJ)];
    if (was.length + left.length + right.length === 0) return;
    if (equal(left, right)) out.push({ lines: left, from: equal(left, was) ? "base" : "both" });
    else if (equal(left, was)) out.push({ lines: right, from: "b" });
    else if (equal(right, was)) out.push({ lines: left, from: "a" });
    else out.push({ clash: true, a: left, b: right, was });
  };
  for (let at = 0; at <= base.length; at++) {
    const [x, y] = at === base.length ? [a.length, b.length] : [inA.get(at), inB.get(at)];
    if (x === undefined || y === undefined) continue;
    settle(at, x, y);
    if (at < base.length) out.push({ lines: [base[at]], from: "base" });
    [o, i, j] = [at + 1, x + 1, y + 1];
  }
  return out;
}

const equal = (a, b) => a.length === b.length && a.every((line, i) => line === b[i]);
