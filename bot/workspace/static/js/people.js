// Faces and names.
import { h } from "./dom.js";
import { lookup } from "./store.js";

const HUES = 8;

/** A square with initials; `size` is tiny, small or empty. */
export function avatar(user, size = "") {
  const initials =
    user?.avatar_initials ||
    lookup
      .name(user)
      .split(/\s+/)
      .map((word) => word[0])
      .slice(0, 2)
      .join("")
      .toUpperCase();
  const node = h(
    "span",
    { class: `avatar ${size} hue-${hue(user?.id ?? "")}${user?.is_bot ? " avatar-bot" : ""}`, "aria-hidden": "true" },
    initials,
  );
  const colour = user?.color ? `#${String(user.color).replace(/^#/, "")}` : "";
  if (/^#[0-9a-f]{6}$/i.test(colour) && !user.is_bot) node.style.setProperty("--avatar", colour);
  return node;
}

function hue(id) {
  return [...id].reduce((sum, char) => (sum * 31 + char.codePointAt(0)) % 997, 7) % HUES;
}
