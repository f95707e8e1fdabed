// What people do to a message: react, pin, run an app's message shortcut, copy its link.
import { must } from "./api.js";
import { h } from "./dom.js";
import { QUICK, emoji, names } from "./emoji.js";
import { icon } from "./icons.js";
import { closePopover, menu, popover } from "./popover.js";
import { state } from "./store.js";
import { toast } from "./toast.js";

const fail = (error) => toast(error.message, { kind: "error" });

/** Add the reaction, or take it back when it is mine already. */
export async function react(channel, message, name) {
  const mine = message.reactions?.some((one) => one.name === name && one.users.includes(state.me)) ?? false;
  await must("/client/reaction", { user: state.me, channel, ts: message.ts, name, remove: mine }).catch(fail);
}

export function openReactionPicker(anchor, channel, message) {
  const grid = h("div", { class: "emoji-grid" });
  const field = h("input", {
    class: "input",
    type: "search",
    placeholder: "Find an emoji",
    "aria-label": "Find an emoji",
    autocomplete: "off",
  });
  const draw = () => {
    const wanted = field.value.trim().toLowerCase().replaceAll(":", "").replaceAll(" ", "_");
    const shown = wanted
      ? names()
          .filter((name) => name.includes(wanted))
          .slice(0, 48)
      : QUICK;
    grid.replaceChildren(
      ...shown.map((name) =>
        h(
          "button",
          {
            type: "button",
            class: "emoji-choice",
            "aria-label": name.replaceAll("_", " "),
            title: `:${name}:`,
            onclick: () => {
              closePopover();
              react(channel, message, name);
            },
          },
          emoji(name),
        ),
      ),
    );
    if (shown.length === 0) grid.append(h("p", { class: "menu-note" }, "No emoji by this name"));
  };
  field.addEventListener("input", draw);
  field.addEventListener("keydown", (event) => event.key === "Enter" && grid.querySelector("button")?.click());
  draw();
  popover(anchor, h("div", { class: "emoji-panel" }, field, grid), { label: "Reactions", className: "popover-emoji" });
}

export async function togglePin(channel, message) {
  await must("/client/pin", { user: state.me, channel, ts: message.ts, remove: Boolean(message.pinned) });
}

export function openMessageMenu(anchor, spot, message, say) {
  const shortcuts = (state.app?.shortcuts ?? []).filter((one) => one.type === "message");
  const run = (one) => () =>
    must("/client/shortcut", {
      user: state.me,
      callback_id: one.callback_id,
      type: "message",
      channel: spot.channel,
      message_ts: message.ts,
      thread_ts: message.thread_ts,
    }).catch((error) => say(error.message));
  menu(anchor, "Message actions", [
    { label: "Add reaction…", icon: icon("smile"), run: () => openReactionPicker(anchor, spot.channel, message) },
    spot.openThread &&
      !spot.thread && { label: "Reply in thread", icon: icon("reply"), run: () => spot.openThread(message) },
    {
      label: message.pinned ? "Unpin from channel" : "Pin to channel",
      icon: icon("pin"),
      run: () => togglePin(spot.channel, message).catch(fail),
    },
    { label: "Copy link", icon: icon("link"), run: () => copyLink(spot, message) },
    shortcuts.length > 0 && "-",
    shortcuts.length > 0 && { heading: state.app.name },
    ...shortcuts.map((one) => ({ label: one.name, hint: one.description, icon: icon("bolt"), run: run(one) })),
  ]);
}

async function copyLink(spot, message) {
  const url = new URL(location.href);
  url.hash = `#/channel/${spot.channel}/${message.ts}${spot.thread && spot.thread !== message.ts ? `?thread=${spot.thread}` : ""}`;
  url.search = "";
  try {
    await navigator.clipboard.writeText(url.href);
    toast("Link copied.");
  } catch {
    toast(url.href);
  }
}
