// The thread beside the channel.
import { layer } from "./a11y.js";
import { composer } from "./composer.js";
import { clear, h } from "./dom.js";
import { icon } from "./icons.js";
import { MessageList } from "./messages.js";
import { lookup, state } from "./store.js";

let open = null;

/** Show the thread of `ts` in `channel`; `onClose` is called when the person closes it. */
export async function openThread(channel, ts, { onClose, focus = true, reveal = null }) {
  if (open?.channel === channel && open.ts === ts) {
    if (reveal) open.list.reveal(reveal);
    else if (focus) open.composer.focus();
    return;
  }
  closeThread();
  const host = document.getElementById("thread");
  const title = lookup.channelTitle(lookup.channel(channel) ?? { name: "" });
  const list = new MessageList({ channel, thread: ts, label: "Thread" });
  const field = composer({ channel, thread: ts, placeholder: "Reply…", label: `Reply in the thread in ${title}` });
  const back = h(
    "button",
    { type: "button", class: "icon-button back-button", "aria-label": "Back to the channel", onclick: onClose },
    icon("back"),
  );
  clear(host).append(
    h(
      "header",
      { class: "pane-head" },
      back,
      h(
        "div",
        { class: "pane-title" },
        h("h2", {}, "Thread"),
        h("span", { class: "muted" }, lookup.channel(channel)?.is_im ? title : `#${title}`),
      ),
      h(
        "button",
        { type: "button", class: "icon-button close-thread", "aria-label": "Close the thread", onclick: onClose },
        icon("close"),
      ),
    ),
    list.node,
    field.node,
  );
  host.hidden = false;
  document.body.dataset.pane = "thread";
  open = { channel, ts, list, composer: field, offLayer: layer(onClose) };
  await list.load();
  if (reveal && reveal !== ts) await list.reveal(reveal);
  else if (focus && open?.ts === ts && matchMedia("(hover: hover)").matches) field.focus(); // A phone's keyboard would cover it.
}

export function closeThread() {
  if (!open) return;
  open.offLayer();
  open.list.end();
  open = null;
  const host = document.getElementById("thread");
  host.hidden = true;
  clear(host);
  if (document.body.dataset.pane === "thread") document.body.dataset.pane = "main";
}

export const shownThread = () => (open && state.route ? { channel: open.channel, thread: open.ts } : null);
