// Sizes, times and ids as people read them.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function size(bytes) {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${UNITS[unit]}`;
}

export const count = (n, one, more = one + "s") => `${n.toLocaleString("en")} ${n === 1 ? one : more}`;

export const short = (id) => id.slice(0, 8);

const STEPS = [
  [60, 1, "second"],
  [3600, 60, "minute"],
  [86400, 3600, "hour"],
  [86400 * 30, 86400, "day"],
];

/** "5 minutes ago"; beyond a month, the date. */
export function ago(time, now = Date.now()) {
  const ms = Date.parse(time);
  if (Number.isNaN(ms)) return time;
  const seconds = Math.round((now - ms) / 1000);
  if (Math.abs(seconds) < 2) return "now";
  for (const [below, unit, word] of STEPS) {
    if (Math.abs(seconds) >= below) continue;
    const n = Math.round(Math.abs(seconds) / unit);
    return seconds < 0 ? `in ${count(n, word)}` : `${count(n, word)} ago`;
  }
  return new Date(ms).toLocaleDateString(undefined, { dateStyle: "medium" });
}

/** To the second, in the reader's time zone. */
export function exact(time) {
  const ms = Date.parse(time);
  return Number.isNaN(ms) ? time : new Date(ms).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

export function clock(time) {
  const ms = Date.parse(time);
  return Number.isNaN(ms) ? time : new Date(ms).toLocaleTimeString();
}

export function milliseconds(ms) {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}
