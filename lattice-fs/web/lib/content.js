// What some bytes are, judged by the bytes themselves and never by the name: a name can say anything.

const MAGIC = [
  ["image/png", [0x89, 0x50, 0x4e, 0x47]],
  ["image/jpeg", [0xff, 0xd8, 0xff]],
  ["image/gif", [0x47, 0x49, 0x46, 0x38]],
];

/** The type of an image that browsers decode without running anything; or null. */
export function image(bytes) {
  const found = MAGIC.find(([, magic]) => magic.every((b, i) => bytes[i] === b));
  if (found) return found[0];
  const ascii = (from, to) => String.fromCharCode(...bytes.subarray(from, to));
  return ascii(0, 4) === "RIFF" && ascii(8, 12) === "WEBP" ? "image/webp" : null;
}

/** The text; null where it isn't any. `cut`: the bytes are the beginning of more, and may end within a character. */
export function text(bytes, cut = false) {
  if (bytes.includes(0)) return null;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes, { stream: cut });
  } catch {
    return null;
  }
}

/** Sixteen bytes a line, in hex and in ASCII. */
export function hex(bytes) {
  const rows = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const digits = row.map((b) => b.toString(16).padStart(2, "0")).join(" ");
    const chars = row.map((b) => (b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : "·")).join("");
    rows.push(`${at.toString(16).padStart(6, "0")}  ${digits.padEnd(47)}  ${chars}`);
  }
  return rows.join("\n");
}
