// The rich_text block: sections, lists, quotes and preformatted text of styled leaves.
import { fragment, h, link } from "./dom.js";
import { emoji } from "./emoji.js";
import { channelRef, dateNode, mention } from "./mrkdwn.js";

/** Render a rich_text block's elements. */
export function richText(block) {
  return fragment((block?.elements ?? []).map((element) => PARTS[element.type]?.(element) ?? unknown(element)));
}

const PARTS = {
  rich_text_section: (part) => h("div", { class: "rt-section" }, leaves(part.elements)),
  rich_text_quote: (part) => h("blockquote", {}, leaves(part.elements)),
  rich_text_preformatted: (part) => h("pre", { class: "code-block" }, h("code", {}, leaves(part.elements))),
  rich_text_list: list,
};

function list(part) {
  const items = (part.elements ?? []).map((item) => h("li", {}, PARTS[item.type]?.(item) ?? leaves(item.elements)));
  const ordered = part.style === "ordered";
  const node = h(
    ordered ? "ol" : "ul",
    {
      class: `rt-list rt-indent-${Math.min(8, Number(part.indent) || 0)}`,
      start: ordered && part.offset ? part.offset + 1 : null,
    },
    items,
  );
  return part.border ? h("blockquote", {}, node) : node;
}

const leaves = (elements) => (elements ?? []).map((leaf) => style(leaf, (LEAVES[leaf.type] ?? unknown)(leaf)));

const lines = (text) =>
  String(text ?? "")
    .split("\n")
    .flatMap((line, i) => (i ? [h("br"), line] : [line]));

const LEAVES = {
  text: (leaf) => fragment(lines(leaf.text)),
  link: (leaf) => link(leaf.url, leaf.text || leaf.url),
  user: (leaf) => mention(leaf.user_id),
  usergroup: (leaf) => h("span", { class: "mention" }, `@${leaf.usergroup_id}`),
  channel: (leaf) => channelRef(leaf.channel_id),
  emoji: (leaf) => emoji(leaf.name ?? ""),
  date: (leaf) => dateNode(leaf.timestamp, leaf.format ?? "{date_short} {time}", leaf.url, leaf.fallback),
  broadcast: (leaf) => h("span", { class: "mention mention-me" }, `@${leaf.range}`),
  team: (leaf) => h("span", { class: "mention" }, leaf.team_id),
  color: (leaf) => colour(leaf.value),
};

function colour(value) {
  const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
  if (/^#[0-9a-f]{3,8}$/i.test(value ?? "")) swatch.style.background = value;
  return h("span", { class: "colour" }, swatch, value);
}

function style(leaf, node) {
  const wrap = { bold: "strong", italic: "em", strike: "s", underline: "u", code: "code" };
  return Object.entries(wrap).reduce((inner, [name, tag]) => (leaf.style?.[name] ? h(tag, {}, inner) : inner), node);
}

function unknown(part) {
  return h("span", { class: "unknown" }, `[${part.type}]`);
}

/** What somebody typed into a plain field, as the rich_text block Slack would send for it. */
export function richTextOf(text) {
  const elements = text ? [{ type: "text", text }] : [];
  return { type: "rich_text", elements: [{ type: "rich_text_section", elements }] };
}

/** The words of a rich_text block, for putting an initial value into a plain field. */
export const richTextWords = (block) =>
  (block?.elements ?? []).map((part) => richText({ elements: [part] }).textContent).join("\n");
