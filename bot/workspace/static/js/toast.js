// Short notes at the edge of the window.
import { h } from "./dom.js";
import { icon } from "./icons.js";

const SHOWN_MS = 9000; // Long enough to read two sentences, also on a phone.

/** Show a note; errors stay until dismissed or for a while. The same text twice is one note. */
export function toast(text, { kind = "info" } = {}) {
  const host = document.querySelector("dialog[open] .toasts") ?? document.getElementById("toasts");
  const same = [...host.children].find((node) => node.dataset.text === text);
  same?.remove();
  const note = h(
    "div",
    { class: `toast toast-${kind}`, role: kind === "error" ? "alert" : null, data: { text } },
    icon(kind === "error" ? "warn" : "info"),
    h("p", {}, text),
    h(
      "button",
      { type: "button", class: "icon-button", "aria-label": "Dismiss", onclick: () => note.remove() },
      icon("close"),
    ),
  );
  host.append(note);
  setTimeout(() => note.remove(), SHOWN_MS);
}
