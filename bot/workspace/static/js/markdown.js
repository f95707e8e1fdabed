// Standard markdown for the markdown block: headings, lists, task lists, tables, fences, quotes. HTML in it stays text.
import { fragment, h, link, safeUrl } from "./dom.js";
import { emoji, known } from "./emoji.js";
import { mrkdwn } from "./mrkdwn.js";

/** Render standard markdown. Anything it does not know is shown as it was written. */
export function markdown(text) {
  return blocks(
    String(text ?? "")
      .replace(/\r\n?/g, "\n")
      .split("\n"),
  );
}

function blocks(lines) {
  const out = fragment();
  let i = 0;
  while (i < lines.length) {
    const rule = RULES.find(({ test }) => test(lines, i));
    const { node, next } = rule.take(lines, i);
    if (node) out.append(node);
    i = Math.max(next, i + 1);
  }
  return out;
}

const FENCE = /^ {0,3}(```+|~~~+)\s*([\w+-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

const isTable = (lines, i) =>
  lines[i].includes("|") && TABLE_RULE.test(lines[i + 1] ?? "") && (lines[i + 1] ?? "").includes("-");
const startsBlock = (lines, i) =>
  lines[i].trim() === "" ||
  FENCE.test(lines[i]) ||
  HEADING.test(lines[i]) ||
  RULE.test(lines[i]) ||
  /^ {0,3}>/.test(lines[i]) ||
  ITEM.test(lines[i]) ||
  isTable(lines, i);

const RULES = [
  { test: (lines, i) => lines[i].trim() === "", take: (_, i) => ({ node: null, next: i + 1 }) },
  { test: (lines, i) => FENCE.test(lines[i]), take: fence },
  {
    test: (lines, i) => HEADING.test(lines[i]),
    take: (lines, i) => {
      const [, marks, text] = HEADING.exec(lines[i]);
      return {
        node: h(
          "div",
          { class: `md-h md-h${marks.length}`, role: "heading", "aria-level": Math.min(6, marks.length + 2) },
          inline(text),
        ),
        next: i + 1,
      };
    },
  },
  { test: (lines, i) => RULE.test(lines[i]), take: (_, i) => ({ node: h("hr"), next: i + 1 }) },
  { test: (lines, i) => /^ {0,3}>/.test(lines[i]), take: quote },
  { test: isTable, take: table },
  { test: (lines, i) => ITEM.test(lines[i]), take: list },
  { test: () => true, take: paragraph },
];

function fence(lines, i) {
  const [, mark] = FENCE.exec(lines[i]);
  let end = i + 1;
  while (end < lines.length && !lines[end].trimStart().startsWith(mark)) end += 1;
  return { node: h("pre", { class: "code-block" }, h("code", {}, lines.slice(i + 1, end).join("\n"))), next: end + 1 };
}

function quote(lines, i) {
  let end = i;
  while (end < lines.length && /^ {0,3}>/.test(lines[end])) end += 1;
  return {
    node: h("blockquote", {}, blocks(lines.slice(i, end).map((line) => line.replace(/^ {0,3}>\s?/, "")))),
    next: end,
  };
}

function paragraph(lines, i) {
  let end = i + 1;
  while (end < lines.length && !startsBlock(lines, end)) end += 1;
  const text = lines.slice(i, end);
  const pieces = text.flatMap((line, n) =>
    n
      ? [/ {2,}$|\\$/.test(text[n - 1]) ? h("br") : " ", inline(line.trim().replace(/\\$/, ""))]
      : [inline(line.trim().replace(/\\$/, ""))],
  );
  return { node: h("p", {}, pieces), next: end };
}

function list(lines, i) {
  const [, indent, bullet] = ITEM.exec(lines[i]);
  const ordered = /\d/.test(bullet);
  const node = h(ordered ? "ol" : "ul", { start: ordered ? Number.parseInt(bullet, 10) : null });
  let at = i;
  while (at < lines.length) {
    const match = ITEM.exec(lines[at]);
    if (!match || match[1].length !== indent.length || /\d/.test(match[2]) !== ordered) break;
    const body = [match[3]];
    let end = at + 1;
    while (
      end < lines.length &&
      (/^\s/.test(lines[end])
        ? indentOf(lines[end]) > indent.length
        : lines[end].trim() === "" && indentOf(lines[end + 1] ?? "") > indent.length)
    ) {
      body.push(lines[end].slice(Math.min(indentOf(lines[end]), indent.length + 2)));
      end += 1;
    }
    node.append(item(body));
    at = end;
    if (lines[at]?.trim() === "" && ITEM.test(lines[at + 1] ?? "")) at += 1;
  }
  return { node, next: at };
}

const indentOf = (line) => /^\s*/.exec(line)[0].length;

function item(body) {
  const task = /^\[([ xX])\]\s+(.*)$/.exec(body[0]);
  const rest = body.length > 1 ? blocks(body.slice(1)) : null;
  if (!task) return h("li", {}, inline(body[0]), rest);
  const done = task[1] !== " ";
  const box = h("input", { type: "checkbox", checked: done, disabled: true, "aria-label": done ? "done" : "to do" });
  return h("li", { class: "md-task" }, box, h("span", {}, inline(task[2])), rest);
}

function cells(line) {
  const inner = line
    .trim()
    .replace(/^\|/, "")
    .replace(/(?<!\\)\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replace(/\\\|/g, "|"));
}

function table(lines, i) {
  const aligns = cells(lines[i + 1]).map((rule) =>
    /^:-+:$/.test(rule) ? "center" : /-:$/.test(rule) ? "right" : "left",
  );
  let end = i + 2;
  while (end < lines.length && lines[end].includes("|") && lines[end].trim() !== "") end += 1;
  const row = (line, tag) =>
    h(
      "tr",
      {},
      aligns.map((align, n) =>
        h(tag, { class: `align-${align}`, scope: tag === "th" ? "col" : null }, inline(cells(line)[n] ?? "")),
      ),
    );
  const body = lines.slice(i + 2, end).map((line) => row(line, "td"));
  return {
    node: h(
      "div",
      { class: "table-scroll", tabindex: 0, role: "region", "aria-label": "Table" },
      h("table", { class: "table" }, h("thead", {}, row(lines[i], "th")), h("tbody", {}, body)),
    ),
    next: end,
  };
}

const INLINE =
  /\\([\\`*_{}[\]()#+\-.!~|>])|(`+)([\s\S]*?[^`])\2(?!`)|!?\[([^\]]*)\]\(\s*<?([^)\s>]*)>?(?:\s+"[^"]*")?\s*\)|<((?:https?:\/\/|mailto:)[^\s<>]+)>|(<[@#!][^<>\n]+>)|(\*\*|__|~~)(?=\S)([\s\S]*?\S)\8|(?<![\p{L}\p{N}])([*_])(?=\S)([\s\S]*?\S)\10(?![\p{L}\p{N}])|:([a-z0-9_+'-]+):|\bhttps?:\/\/[^\s<>|"]+/gu;

function inline(text) {
  const out = fragment();
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    out.append(text.slice(at, match.index), span(match));
    at = match.index + match[0].length;
  }
  out.append(text.slice(at));
  return out;
}

function span(match) {
  const [whole, escaped, , code, label, target, auto, slack, strong, strongText, , emText, shortcode] = match;
  if (escaped) return escaped;
  if (code !== undefined) return h("code", {}, code.trim());
  if (label !== undefined) return safeUrl(target) ? link(target, inline(label || target)) : whole;
  if (auto) return link(auto, auto.replace(/^mailto:/, ""));
  if (slack) return mrkdwn(slack);
  if (strong) return h(strong === "~~" ? "s" : "strong", {}, inline(strongText));
  if (emText !== undefined) return h("em", {}, inline(emText));
  if (shortcode) return known(shortcode) ? emoji(shortcode) : whole;
  const url = whole.replace(/[.,;:!?)\]'*_]+$/, "");
  return fragment(link(url, url), whole.slice(url.length));
}
