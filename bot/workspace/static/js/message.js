// One message: who and when, its blocks or text, files, reactions, its thread, and what can be done with it.
import { must, sentence } from "./api.js";
import { attachments } from "./attachments.js";
import { showBlocks } from "./blocks.js";
import { clear, fragment, h, keepingFocus } from "./dom.js";
import { icon } from "./icons.js";
import { mrkdwn } from "./mrkdwn.js";
import { avatar } from "./people.js";
import { openMessageMenu, openReactionPicker, togglePin } from "./message_actions.js";
import { files, reactions, threadLine } from "./message_parts.js";
import { change, lookup, state } from "./store.js";
import { Surface } from "./surface.js";
import { clock, dayLabel, fromTs, full } from "./time.js";
import { toast } from "./toast.js";

const SYSTEM = new Set([
  "channel_join",
  "channel_leave",
  "channel_topic",
  "channel_purpose",
  "channel_name",
  "channel_archive",
  "channel_unarchive",
  "pinned_item",
  "bookmark_added",
  "bot_add",
  "group_join",
  "group_leave",
]);

export const isSystem = (message) => SYSTEM.has(message.subtype);

/** Who wrote it, as one key for grouping. */
export const authorKey = (message) => `${message.user ?? message.bot_id ?? ""}|${message.username ?? ""}`;

export function author(message) {
  const user = lookup.user(message.user) ?? (message.bot_id ? lookup.user(state.app?.bot_user_id) : null);
  return { user, name: message.username || lookup.name(user), isBot: Boolean(user?.is_bot || message.bot_id) };
}

const surfaces = new Map(); // list key + ts → Surface: typed text outlives redraws and changes of channel

function surfaceOf(channel, message, node) {
  const id = `message ${channel} ${message.ts}`;
  if (!surfaces.has(id)) surfaces.set(id, new Surface({ kind: "message", id, here: channel }));
  const surface = surfaces.get(id);
  surface.container = () => ({ type: "message", channel, ts: message.ts, ephemeral: Boolean(message.ephemeral) });
  surface.onStart = () => note(node, "");
  surface.onError = (text) => note(node, text);
  return surface;
}

/** What the app's silence or refusal looks like: a line right under the message. */
function note(node, text) {
  const place = node.querySelector(".message-error");
  if (!place) return text && toast(text, { kind: "error" });
  clear(place).hidden = !text;
  if (text)
    place.append(
      icon("warn"),
      h("span", {}, text),
      h(
        "button",
        { type: "button", class: "icon-button", "aria-label": "Dismiss", onclick: () => note(node, "") },
        icon("close"),
      ),
    );
}

/** Build the node of `item` {message, compact, newDay}; `spot` {channel, thread, openThread}. */
export function createMessage(item, spot) {
  const { message } = item;
  const node = h(
    "div",
    { class: "message", role: "listitem", tabindex: -1, data: { ts: message.ts } },
    h("div", { class: "gutter" }),
    h(
      "div",
      { class: "content" },
      h("div", { class: "meta" }),
      h("div", { class: "body" }),
      h("div", { class: "message-error", role: "alert", hidden: true }),
      h("div", { class: "below" }),
    ),
    h("div", { class: "toolbar-host" }),
  );
  node.addEventListener("keydown", (event) => {
    if (event.target !== node || event.key !== "Enter") return;
    event.preventDefault();
    if (!message.ephemeral && !isSystem(message)) spot.openThread?.(message);
  });
  updateMessage(node, item, spot);
  return node;
}

/** Mend the node in place; blocks that stay the same are not touched. */
export function updateMessage(node, { message, compact, newDay }, spot) {
  const who = author(message);
  const at = fromTs(message.ts);
  node.className = [
    "message",
    compact && "compact",
    isSystem(message) && "system",
    message.ephemeral && "ephemeral",
    message.pinned && "pinned",
    newDay && "new-day",
  ]
    .filter(Boolean)
    .join(" ");
  node.dataset.day = newDay ? dayLabel(at) : "";
  node.setAttribute("aria-label", `${who.name}, ${clock(at)}`);
  const [gutter, content, host] = node.children;
  const [meta, body, , below] = content.children;
  const stamp = () =>
    h(
      "a",
      { class: "stamp", href: permalink(spot, message), title: full(at) },
      h("time", { datetime: at.toISOString() }, clock(at)),
    );
  clear(gutter).append(
    isSystem(message)
      ? fragment()
      : compact
        ? stamp()
        : avatar(who.user ?? { id: message.bot_id ?? message.username ?? "", real_name: who.name, is_bot: who.isBot }),
  );
  clear(meta).append(...header(message, who, stamp, compact, spot));
  keepingFocus(body, () => showBody(body, message, spot, node));
  keepingFocus(below, () => clear(below).append(...footer(message, spot)));
  if (!keepsToolbar(host, message)) host.replaceChildren(toolbar(message, spot, node));
}

function permalink(spot, message) {
  const base = `#/channel/${spot.channel}/${message.ts}`;
  return spot.thread && message.ts !== spot.thread ? `${base}?thread=${spot.thread}` : base;
}

function header(message, who, stamp, compact, spot) {
  if (compact || isSystem(message)) return [];
  const marks = [
    message.ephemeral &&
      h(
        "span",
        { class: "mark" },
        icon("eye"),
        "Only visible to you",
        h("button", { type: "button", class: "text-button", onclick: () => dismiss(spot.channel, message) }, "Dismiss"),
      ),
    message.pinned && h("span", { class: "mark" }, icon("pin"), "Pinned"),
  ].filter(Boolean);
  return [
    h(
      "div",
      { class: "who" },
      h("strong", { class: "name" }, who.name),
      who.isBot ? h("span", { class: "badge-app" }, "App") : null,
      stamp(),
      marks,
    ),
  ];
}

function dismiss(channel, message) {
  change(channel, message.ts, () => null);
  must("/client/dismiss", { user: state.me, channel, ts: message.ts }).catch((error) =>
    toast(error.message, { kind: "error" }),
  );
}

function showBody(body, message, spot, node) {
  const surface = surfaceOf(spot.channel, message, node);
  const rich = message.blocks?.length > 0;
  body.classList.toggle("blocks", rich);
  if (rich) showBlocks(blockHost(body), message.blocks, surface);
  else clear(body).append(textLine(message));
  body.querySelector(":scope > .extras")?.remove();
  const extras = [...attachments(message.attachments, surface), ...files(message.files)];
  if (rich && message.edited && !message.bot_id) extras.push(h("span", { class: "muted" }, "(edited)"));
  if (extras.length) body.append(h("div", { class: "extras" }, extras));
}

function blockHost(body) {
  let host = body.querySelector(":scope > .block-host");
  if (!host) {
    clear(body);
    host = h("div", { class: "block-host" });
    body.append(host);
  }
  return host;
}

function textLine(message) {
  const text = isSystem(message) ? systemText(message) : message.text;
  return h(
    "div",
    { class: "text" },
    mrkdwn(text ?? ""),
    message.edited ? h("span", { class: "muted" }, " (edited)") : null,
  );
}

/** Slack's system lines begin with the person; where the text does not say who, the author is put in front. */
function systemText(message) {
  const text = message.text ?? "";
  return /^<@/.test(text) || !message.user ? text : `<@${message.user}> ${text}`;
}

function footer(message, spot) {
  return [reactions(message, spot), spot.thread ? null : threadLine(message, spot)].filter(Boolean);
}

const keepsToolbar = (host, message) => {
  const same = host.dataset.pinned === String(Boolean(message.pinned)) && host.firstChild;
  host.dataset.pinned = String(Boolean(message.pinned));
  return same;
};

function toolbar(message, spot, node) {
  if (message.ephemeral || isSystem(message)) return fragment();
  const tool = (label, sign, run, kind) =>
    h(
      "button",
      {
        type: "button",
        class: `tool tool-${kind}`,
        "aria-label": label,
        title: label,
        "aria-haspopup": kind === "reply" || kind === "pin" ? null : "true",
        data: { fk: `tool\u001f${kind}` },
        onclick: (event) => run(event.currentTarget),
      },
      icon(sign),
    );
  const current = () => spot.find?.(message.ts) ?? message;
  return h(
    "div",
    { class: "toolbar", role: "toolbar", "aria-label": "Message" },
    tool("React", "smile", (anchor) => openReactionPicker(anchor, spot.channel, current()), "react"),
    spot.openThread && !spot.thread
      ? tool("Reply in thread", "reply", () => spot.openThread(current()), "reply")
      : null,
    tool(
      message.pinned ? "Unpin" : "Pin",
      "pin",
      () => togglePin(spot.channel, current()).catch((error) => note(node, sentence(error.code) || error.message)),
      "pin",
    ),
    tool(
      "More actions",
      "more",
      (anchor) => openMessageMenu(anchor, spot, current(), (text) => note(node, text)),
      "more",
    ),
  );
}
