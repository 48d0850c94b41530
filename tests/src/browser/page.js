// How a test finds things on a page: by what people see or a screen reader says, and only what can be seen.
(() => {
  const visible = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && e.getClientRects().length > 0;
  const squeeze = (text) => text.replace(/\s+/g, " ").trim();
  const labels = (e) => [...(e.labels ?? [])].map((l) => squeeze(l.textContent)).join(" ");
  const nameOf = (e) => squeeze(e.getAttribute("aria-label") ?? (labels(e) || e.textContent || e.getAttribute("alt") || ""));
  const open = () => document.querySelector("dialog[open]") ?? document;
  /** Where `name` stands: whole names before those that begin with it. */
  const find = (selector, name) => {
    const all = [...open().querySelectorAll(selector)].filter(visible);
    return all.find((e) => nameOf(e) === name) ?? all.find((e) => nameOf(e).startsWith(name)) ?? null;
  };
  globalThis.test = {
    nameOf,
    find,
    text: () => squeeze(open() === document ? document.body.innerText : open().innerText),
    /** The middle of it, when nothing lies above it there. */
    point(selector, name) {
      const element = find(selector, name);
      if (!element || element.disabled) return null;
      element.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
      const box = element.getClientRects()[0];
      const at = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
      const top = document.elementFromPoint(at.x, at.y);
      return top && (element.contains(top) || top.contains(element)) ? at : null;
    },
    /** What has the focus, as a screen reader would say it, and whether that can be seen. */
    focus() {
      const e = document.activeElement;
      if (!e || e === document.body) return null;
      const style = getComputedStyle(e);
      const marked = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
      return { tag: e.localName, name: nameOf(e), marked, visible: visible(e), type: e.type ?? "" };
    },
  };
})();
