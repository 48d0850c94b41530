// Keys. A key is bytes; here it is carried as the text that stands for it in a URL: RFC 3986's unreserved characters as
// they are, every other byte as %XX, `/` between segments. So any name makes the round trip, and two keys are the same
// exactly where their texts are. What people read is made from that by `shown`, which lets nothing hide in a name.

const PLAIN = /^[A-Za-z0-9\-._~/]$/;

function percent(bytes) {
  let out = "";
  for (const byte of bytes) {
    const char = String.fromCharCode(byte);
    out += PLAIN.test(char) ? char : "%" + byte.toString(16).toUpperCase().padStart(2, "0");
  }
  return out;
}

/** The bytes that the text stands for. */
export function bytesOf(key) {
  const out = [];
  for (let i = 0; i < key.length; i++) {
    if (key[i] === "%") {
      out.push(parseInt(key.slice(i + 1, i + 3), 16));
      i += 2;
    } else {
      out.push(key.charCodeAt(i));
    }
  }
  return Uint8Array.from(out);
}

/** From a name that somebody typed, or that a file has on this computer. */
export function fromText(text) {
  return percent(new TextEncoder().encode(text));
}

/** From a document of the API: `key_base64` has the bytes where they are not UTF-8. */
export function fromDoc(doc) {
  if (doc.key_base64 === undefined || doc.key_base64 === null) return fromText(doc.key);
  return percent(Uint8Array.from(atob(doc.key_base64), (c) => c.charCodeAt(0)));
}

/** The fields of a batch operation that name a key; `field` is "key" or "to". */
export function toDoc(key, field = "key") {
  const bytes = bytesOf(key);
  try {
    return { [field]: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    return { [field]: text, [field + "_base64"]: btoa(String.fromCharCode(...bytes)) };
  }
}

/** What comes from the address bar, made canonical. */
export function fromAddress(text) {
  const wild = text.replace(/%(?![0-9A-Fa-f]{2})/g, "%25");
  const bytes = [];
  for (let i = 0; i < wild.length; ) {
    if (wild[i] === "%") {
      bytes.push(parseInt(wild.slice(i + 1, i + 3), 16));
      i += 3;
    } else {
      const char = String.fromCodePoint(wild.codePointAt(i));
      bytes.push(...new TextEncoder().encode(char));
      i += char.length;
    }
  }
  return percent(bytes);
}

export const segments = (key) => (key === "" ? [] : key.split("/"));
export const nameOf = (key) => key.slice(key.lastIndexOf("/") + 1);
export const parentOf = (key) => key.slice(0, Math.max(0, key.lastIndexOf("/")));
export const join = (dir, name) => (dir === "" ? name : `${dir}/${name}`);

// Controls, marks that turn the direction of writing, and characters without width: what would make a name look like
// another one.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** As people read it: bytes that are not UTF-8 as `\xFF`, what can't be seen as `\u{202E}`. Plain text, never markup. */
export function shown(key) {
  return decodeLoosely(bytesOf(key)).replace(HIDDEN, (c) => `\\u{${c.codePointAt(0).toString(16).toUpperCase()}}`);
}

function decodeLoosely(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return decodePieces(bytes);
  }
}

/** Character by character; a byte that begins none is written out. */
function decodePieces(bytes) {
  const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let out = "";
  for (let i = 0; i < bytes.length; ) {
    const lead = bytes[i];
    const length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
    let char = null;
    try {
      if (length > 0 && i + length <= bytes.length) char = strict.decode(bytes.subarray(i, i + length));
    } catch {
      char = null;
    }
    out += char ?? "\\x" + lead.toString(16).toUpperCase().padStart(2, "0");
    i += char === null ? 1 : length;
  }
  return out;
}
