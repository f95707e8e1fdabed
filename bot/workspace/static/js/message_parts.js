// The parts of a message under its text: files, reactions, the way into its thread.
import { h, safeUrl } from "./dom.js";
import { fileUrl } from "./elements.js";
import { emoji } from "./emoji.js";
import { icon } from "./icons.js";
import { openReactionPicker, react } from "./message_actions.js";
import { avatar } from "./people.js";
import { lookup, state } from "./store.js";
import { fromTs, shortly } from "./time.js";

export function files(items) {
  return (items ?? []).map((item) => {
    const url = safeUrl(item.url_private ?? item.permalink ?? "", ["http:", "https:"]) ?? fileUrl(item.id);
    const title = item.title || item.name || "File";
    if (/^image\//.test(item.mimetype ?? ""))
      return h(
        "a",
        { href: url, target: "_blank", rel: "noopener", class: "file-image" },
        h("img", { src: url, alt: item.alt_txt ?? title, loading: "lazy" }),
      );
    return h(
      "a",
      { class: "file-row", href: url, target: "_blank", rel: "noopener" },
      icon("file"),
      h(
        "span",
        {},
        h("strong", {}, title),
        h("small", {}, [item.pretty_type ?? item.filetype, size(item.size)].filter(Boolean).join(" · ")),
      ),
    );
  });
}

const size = (bytes) =>
  bytes > 1_000_000
    ? `${(bytes / 1_000_000).toFixed(1)} MB`
    : bytes > 1000
      ? `${Math.round(bytes / 1000)} kB`
      : bytes
        ? `${bytes} B`
        : "";

export function reactions(message, spot) {
  if (!message.reactions?.length) return null;
  const chips = message.reactions.map((one) => {
    const mine = one.users.includes(state.me);
    const names = one.users.map((id) => (id === state.me ? "you" : lookup.name(lookup.user(id)))).join(", ");
    return h(
      "button",
      {
        type: "button",
        class: `reaction${mine ? " mine" : ""}`,
        "aria-pressed": String(mine),
        title: `${names} reacted with :${one.name}:`,
        "aria-label": `${one.name.replaceAll("_", " ")}, ${one.count}: ${names}`,
        data: { fk: `reaction\u001f${one.name}` },
        onclick: () => react(spot.channel, message, one.name),
      },
      emoji(one.name),
      h("span", {}, one.count ?? one.users.length),
    );
  });
  const more = h(
    "button",
    {
      type: "button",
      class: "reaction reaction-add",
      "aria-label": "Add a reaction",
      onclick: (event) => openReactionPicker(event.currentTarget, spot.channel, message),
    },
    icon("smile"),
  );
  return h("div", { class: "reactions" }, chips, more);
}

export function threadLine(message, spot) {
  if (!message.reply_count) return null;
  const faces = (message.reply_users ?? []).slice(0, 4).map((id) => avatar(lookup.user(id) ?? { id }, "tiny"));
  const count = `${message.reply_count} ${message.reply_count === 1 ? "reply" : "replies"}`;
  return h(
    "button",
    {
      type: "button",
      class: "thread-line",
      data: { fk: "thread\u001fopen" },
      onclick: () => spot.openThread?.(message),
    },
    faces,
    h("span", { class: "thread-count" }, count),
    message.latest_reply ? h("span", { class: "muted" }, `last reply ${shortly(fromTs(message.latest_reply))}`) : null,
  );
}
