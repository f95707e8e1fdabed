// Keyboard and screen readers: announcements, roving lists, one stack of things that Escape closes.

let region;

/** Say something to a screen reader without moving the focus. */
export function announce(text) {
  region ??= document.getElementById("announcer");
  region.textContent = "";
  requestAnimationFrame(() => {
    region.textContent = text;
  });
}

const layers = [];

/** Register something that Escape closes before everything under it. Returns the function that takes it off. */
export function layer(close) {
  const entry = { close };
  layers.push(entry);
  return () => {
    const at = layers.indexOf(entry);
    if (at >= 0) layers.splice(at, 1);
  };
}

export function installEscape() {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing || event.defaultPrevented || layers.length === 0) return;
    event.preventDefault();
    layers.at(-1).close();
  });
}

/** Up, Down, Home and End move through `selector` inside `root`; `wrap` goes round. */
export function roving(root, selector, { wrap = false, horizontal = false } = {}) {
  const keys = horizontal ? { ArrowLeft: -1, ArrowRight: 1 } : { ArrowUp: -1, ArrowDown: 1 };
  root.addEventListener("keydown", (event) => {
    const item = event.target.closest(selector);
    if (!item || (event.target !== item && isField(event.target)) || event.altKey || event.ctrlKey || event.metaKey)
      return;
    const items = [...root.querySelectorAll(selector)].filter((node) => node.offsetParent !== null);
    const next = target(items, items.indexOf(item), event.key, keys, wrap);
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.scrollIntoView?.({ block: "nearest" });
  });
}

function target(items, at, key, keys, wrap) {
  if (key === "Home") return items[0];
  if (key === "End") return items.at(-1);
  const step = keys[key];
  if (!step) return null;
  const to = at + step;
  return wrap ? items[(to + items.length) % items.length] : items[Math.min(items.length - 1, Math.max(0, to))];
}

const isField = (node) => /^(INPUT|TEXTAREA|SELECT)$/.test(node.tagName) || node.isContentEditable;

const FOCUSABLE =
  'a[href], button:not(:disabled), input:not(:disabled), textarea:not(:disabled), select:not(:disabled), summary, [tabindex="0"]';

/** Keep Tab inside `root`. */
export function trapFocus(root) {
  root.addEventListener("keydown", (event) => {
    if (event.key !== "Tab") return;
    const items = [...root.querySelectorAll(FOCUSABLE)].filter((node) => node.offsetParent !== null);
    if (items.length === 0) return;
    const edge = event.shiftKey ? items[0] : items.at(-1);
    if (document.activeElement !== edge && root.contains(document.activeElement) && document.activeElement !== root)
      return;
    event.preventDefault();
    (event.shiftKey ? items.at(-1) : items[0]).focus();
  });
}

/** Remember who has the focus; the returned function gives it back, to its successor when it was redrawn. */
export function rememberFocus() {
  const before = document.activeElement;
  const key = before?.dataset?.fk;
  const scope = before?.closest("[data-ts]")?.dataset.ts;
  return () => {
    if (before?.isConnected && before !== document.body) return before.focus();
    const place = scope ? document.querySelector(`[data-ts="${CSS.escape(scope)}"]`) : document;
    const successor = key ? place?.querySelector(`[data-fk="${CSS.escape(key)}"]`) : null;
    (successor ?? document.querySelector(".composer textarea") ?? document.getElementById("main"))?.focus({
      preventScroll: true,
    });
  };
}
