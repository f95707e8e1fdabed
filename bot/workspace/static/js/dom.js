// Building and reconciling DOM. Data from outside only ever becomes text nodes and checked attributes.

const SVG_NS = "http://www.w3.org/2000/svg";

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

function setProps(node, props) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2).toLowerCase(), value);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "value" || name === "checked" || name === "indeterminate") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  return node;
}

/** Create an element: h("button", {class: "x", onclick: f, data: {id: 1}}, "text", child). */
export function h(tag, props, ...children) {
  return append(setProps(document.createElement(tag), props), children);
}

/** The same for SVG. */
export function s(tag, props, ...children) {
  return append(setProps(document.createElementNS(SVG_NS, tag), props), children);
}

export function fragment(...children) {
  return append(document.createDocumentFragment(), children);
}

export function clear(node) {
  node.replaceChildren();
  return node;
}

const keyed = new WeakMap();

/**
 * Make the children of `parent` show `items`, touching only what changed.
 *
 * `spec.key(item, i)` names a node for life, `spec.sig(item, i)` is compared by identity and tells whether it changed,
 * `spec.create(item, i)` builds it, `spec.update(node, item, i)` mends it in place (without it the node is built anew).
 * Nodes that stay are never moved, so focus, selection, typed text and scroll positions survive.
 */
export function reconcile(parent, items, spec) {
  const before = keyed.get(parent) ?? new Map();
  const after = new Map();
  items.forEach((item, i) => {
    let key = spec.key(item, i);
    while (after.has(key)) key = `${key}'`;
    after.set(key, { item, i, sig: spec.sig(item, i), node: null });
  });
  for (const [key, old] of before) if (!after.has(key)) old.node.remove();
  let cursor = parent.firstChild;
  for (const [key, entry] of after) {
    entry.node = settle(before.get(key), entry, spec);
    if (entry.node === cursor) cursor = cursor.nextSibling;
    else {
      parent.insertBefore(entry.node, cursor);
      const old = before.get(key);
      if (old && old.node !== entry.node) {
        if (cursor === old.node) cursor = cursor.nextSibling;
        old.node.remove();
      }
    }
    delete entry.item;
  }
  keyed.set(parent, after);
}

function settle(old, entry, spec) {
  if (!old) return spec.create(entry.item, entry.i);
  if (old.sig === entry.sig) return old.node;
  if (spec.update && spec.update(old.node, entry.item, entry.i) !== false) return old.node;
  return spec.create(entry.item, entry.i);
}

/**
 * Run `change` on `root`; when it replaced the focused control by its successor (same data-fk, else the same action),
 * put focus and text selection back.
 */
export function keepingFocus(root, change) {
  const active = document.activeElement;
  const inside = active && active !== document.body && root.contains(active);
  const key = inside ? active.closest("[data-fk]")?.dataset.fk : null;
  const range = inside && "selectionStart" in active ? selectionOf(active) : null;
  change();
  if (!inside || root.contains(document.activeElement) || !key) return;
  const next = root.querySelector(`[data-fk="${CSS.escape(key)}"]`) ?? byAction(root, key);
  if (!next) return root.closest("[tabindex]")?.focus({ preventScroll: true });
  next.focus({ preventScroll: true });
  if (range && "setSelectionRange" in next) restoreSelection(next, range);
}

function byAction(root, key) {
  const [, action, value] = key.split("\u001f");
  if (!action) return null;
  const alike = [...root.querySelectorAll("[data-fk]")].filter((node) => node.dataset.fk.split("\u001f")[1] === action);
  return alike.find((node) => node.dataset.fk.split("\u001f")[2] === value) ?? alike[0] ?? null;
}

function selectionOf(field) {
  try {
    return [field.selectionStart, field.selectionEnd];
  } catch {
    return null; // Number and e-mail fields have no selection in some browsers.
  }
}

function restoreSelection(field, [start, end]) {
  try {
    field.setSelectionRange(start, end);
  } catch {
    // As above.
  }
}

/** Only addresses a browser may safely follow from a message. Returns the normalised address or null. */
export function safeUrl(raw, protocols = ["http:", "https:", "mailto:"]) {
  try {
    const url = new URL(raw);
    return protocols.includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

export function link(url, ...children) {
  const href = safeUrl(url);
  if (!href) return fragment(...children);
  const here = href.startsWith(`${location.origin}/`);
  return h("a", { class: "link", href, target: here ? null : "_blank", rel: "noopener noreferrer" }, ...children);
}
