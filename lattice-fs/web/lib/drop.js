// What somebody dropped: files, and the files in folders with their paths.

/** `[{file, path}]`; the path begins with the dropped folder's name. */
export async function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  // Both must be asked for before the event is over.
  const roots = items.map((item) => ({ entry: item.webkitGetAsEntry?.() ?? null, file: item.getAsFile() }));
  const out = [];
  for (const { entry, file } of roots) {
    if (entry?.isDirectory) await walk(entry, "", out);
    else if (file) out.push({ file, path: file.name });
  }
  return out;
}

async function walk(entry, above, out) {
  const path = above === "" ? entry.name : `${above}/${entry.name}`;
  if (entry.isFile) {
    out.push({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), path });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A directory comes in parts; an empty one is the end.
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (part.length === 0) return;
    for (const child of part) await walk(child, path, out);
  }
}
