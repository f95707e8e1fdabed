// Small panels beside a control: menus, pickers, people. On narrow screens they come from below.
import { h } from "./dom.js";
import { layer, rememberFocus, roving } from "./a11y.js";

let current = null;

/** Close the open popover, if any. */
export const closePopover = () => current?.close();

/**
 * Open `content` beside `anchor`. Closes by Escape, a click elsewhere, or the returned function; focus goes back.
 * `onClose` is called once.
 */
export function popover(anchor, content, { label, role = "dialog", onClose, className = "", keepFocus = false } = {}) {
  closePopover();
  const panel = h("div", { class: `popover ${className}`, role, "aria-label": label, popover: "manual" }, content);
  const giveBack = rememberFocus();
  (anchor.closest("dialog") ?? document.body).append(panel);
  panel.showPopover();
  place(panel, anchor);
  anchor.setAttribute("aria-expanded", "true");

  const outside = (event) => {
    if (!panel.contains(event.target) && !anchor.contains(event.target)) close({ refocus: false });
  };
  const follow = () => (anchor.isConnected ? place(panel, anchor) : close({ refocus: false }));
  const offLayer = layer(() => close());
  document.addEventListener("pointerdown", outside, true);
  addEventListener("resize", follow);

  function close({ refocus = true } = {}) {
    if (current?.panel !== panel) return;
    current = null;
    offLayer();
    document.removeEventListener("pointerdown", outside, true);
    removeEventListener("resize", follow);
    const hadFocus = panel.contains(document.activeElement);
    panel.remove();
    anchor.setAttribute("aria-expanded", "false");
    if (refocus && (hadFocus || !keepFocus)) giveBack();
    onClose?.();
  }

  current = { panel, close };
  if (!keepFocus)
    (panel.querySelector("[autofocus], input, [role^=menuitem], [role=option], button") ?? panel).focus({
      preventScroll: true,
    });
  return close;
}

function place(panel, anchor) {
  if (matchMedia("(max-width: 640px)").matches) return;
  const box = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = panel;
  const below = innerHeight - box.bottom - 12;
  const top = below >= height || below >= box.top ? box.bottom + 6 : box.top - height - 6;
  panel.style.left = `${Math.max(8, Math.min(innerWidth - width - 8, box.left))}px`;
  panel.style.top = `${Math.max(8, Math.min(innerHeight - height - 8, top))}px`;
}

/** A menu of {label, icon?, danger?, hint?, run} entries ("-" draws a line, {heading} a title). */
export function menu(anchor, label, entries) {
  const items = entries.filter(Boolean).map((entry) => {
    if (entry === "-") return h("div", { class: "menu-line", role: "separator" });
    if (entry.heading) return h("div", { class: "menu-heading", role: "presentation" }, entry.heading);
    return h(
      "button",
      {
        type: "button",
        class: `menu-item${entry.danger ? " danger" : ""}`,
        role: entry.checked === undefined ? "menuitem" : "menuitemradio",
        "aria-checked": entry.checked === undefined ? null : String(entry.checked),
        tabindex: -1,
        onclick: () => {
          close();
          entry.run();
        },
      },
      entry.icon ?? null,
      h("span", { class: "menu-text" }, h("span", {}, entry.label), entry.hint ? h("small", {}, entry.hint) : null),
      entry.checked ? h("span", { class: "menu-check", "aria-hidden": "true" }, "✓") : null,
    );
  });
  const body = h("div", { class: "menu" }, items);
  roving(body, "[role^=menuitem]", { wrap: true });
  const close = popover(anchor, body, { label, role: "menu" });
  return close;
}
