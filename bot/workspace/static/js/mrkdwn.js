// Slack's mrkdwn: *bold* _it_ ~strike~ `code` ```block``` > quote <url|text> <@U> <#C> <!date^…> :emoji:
import { fragment, h, link, safeUrl } from "./dom.js";
import { emoji } from "./emoji.js";
import { lookup } from "./store.js";
import { formatTokens, full } from "./time.js";

export const unescape = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

const STYLES = { "*": "strong", _: "em", "~": "s" };
const TOKEN = /<([^<>\n]+)>|`([^`\n]+)`|:([a-z0-9_+'-]+(?:::skin-tone-\d)?):|\bhttps?:\/\/[^\s<>|"]+|[*_~]/;

/** Render mrkdwn. `verbatim` leaves bare addresses alone, as Slack does. */
export function mrkdwn(text, { verbatim = false } = {}) {
  const out = fragment();
  const parts = String(text ?? "").split("```");
  // An even number of parts means that the last fence never closes: it is then ordinary text.
  if (parts.length % 2 === 0) parts.push(`${parts.splice(-2).join("```")}`);
  parts.forEach((part, i) => {
    if (i % 2)
      out.append(
        h("pre", { class: "code-block" }, h("code", {}, codeText(part.replace(/^\n/, "").replace(/\n$/, "")))),
      );
    else out.append(lines(i ? part.replace(/^\n/, "") : part, verbatim));
  });
  return out;
}

function lines(text, verbatim) {
  const out = fragment();
  let words = [];
  let quote = [];
  const flushPlain = () => {
    if (words.length) out.append(inline(words.join("\n"), verbatim));
    words = [];
  };
  const flushQuote = () => {
    if (quote.length) out.append(h("blockquote", {}, inline(quote.join("\n"), verbatim)));
    quote = [];
  };
  for (const line of text.split("\n")) {
    const match = /^(?:&gt;|>)\s?(.*)$/.exec(line);
    if (match) {
      flushPlain();
      quote.push(match[1]);
    } else {
      flushQuote();
      words.push(line);
    }
  }
  flushQuote();
  flushPlain();
  return out;
}

function textNodes(text) {
  return unescape(text)
    .split("\n")
    .flatMap((line, i) => (i ? [h("br"), line] : [line]));
}

function inline(text, verbatim, depth = 0) {
  const out = fragment();
  const scanner = new RegExp(TOKEN.source, "g");
  let at = 0;
  for (let match; (match = scanner.exec(text));) {
    const made = token(match, text, verbatim, depth);
    if (!made) {
      scanner.lastIndex = match.index + 1;
      continue;
    }
    out.append(fragment(textNodes(text.slice(at, match.index))), made.node);
    at = made.end;
    scanner.lastIndex = at;
  }
  out.append(fragment(textNodes(text.slice(at))));
  return out;
}

function token(match, text, verbatim, depth) {
  const [whole, angle, code, shortcode] = match;
  const end = match.index + whole.length;
  if (angle !== undefined) return { node: angled(angle), end };
  if (code !== undefined) return { node: h("code", {}, codeText(code)), end };
  if (shortcode !== undefined) return { node: emoji(shortcode), end };
  if (STYLES[whole]) return styled(match.index, whole, text, verbatim, depth);
  if (verbatim) return { node: document.createTextNode(unescape(whole)), end };
  const url = whole.replace(/[.,;:!?)\]'*_~]+$/, "");
  return { node: link(unescape(url), unescape(url)), end: match.index + url.length };
}

function styled(start, mark, text, verbatim, depth) {
  if (
    depth > 5 ||
    /[\p{L}\p{N}]/u.test(text[start - 1] ?? "") ||
    /[\s]|^$/.test(text[start + 1] ?? "") ||
    text[start + 1] === mark
  )
    return null;
  const close = closing(text, start + 1, mark);
  if (close < 0) return null;
  const inner = inline(text.slice(start + 1, close), verbatim, depth + 1);
  return { node: h(STYLES[mark], {}, inner), end: close + 1 };
}

/** Where the style that begins before `from` ends: same line, after a non-space, before a non-word, outside <…> and `…`. */
function closing(text, from, mark) {
  for (let i = from; i < text.length && text[i] !== "\n"; i += 1) {
    if (text[i] === "<" || text[i] === "`") {
      const far = text.indexOf(text[i] === "<" ? ">" : "`", i + 1);
      if (far > 0) i = far;
    } else if (text[i] === mark && i > from && !/\s/.test(text[i - 1]) && !/[\p{L}\p{N}]/u.test(text[i + 1] ?? ""))
      return i;
  }
  return -1;
}

const codeText = (text) =>
  unescape(text.replace(/<((?:https?:|mailto:)[^|>]+)(?:\|([^>]*))?>/g, (_, url, label) => label || url));

function angled(body) {
  const [target, label] = splitOnce(body, "|");
  if (target.startsWith("@")) return mention(target.slice(1), label);
  if (target.startsWith("#")) return channelRef(target.slice(1), label);
  if (target.startsWith("!")) return special(target.slice(1), label);
  const url = unescape(target);
  if (safeUrl(url)) return link(url, label ? inline(label, true, 5) : url.replace(/^mailto:/, ""));
  return document.createTextNode(`<${unescape(body)}>`);
}

function splitOnce(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

export function mention(id, label) {
  const user = lookup.user(id);
  const name = user ? lookup.name(user) : unescape(label || id).replace(/^@/, "");
  return h(
    "button",
    { type: "button", class: lookup.isMe(id) ? "mention mention-me" : "mention", data: { user: id } },
    `@${name}`,
  );
}

export function channelRef(id, label) {
  const channel = lookup.channel(id);
  return h(
    "a",
    { class: "mention", href: `#/channel/${encodeURIComponent(id)}` },
    `#${channel?.name ?? unescape(label || "private channel")}`,
  );
}

export function dateNode(seconds, template, url, fallback) {
  const made = formatTokens(seconds, template);
  if (!made) return document.createTextNode(fallback ?? "");
  const node = h("time", { datetime: made.date.toISOString(), title: full(made.date) }, made.text);
  return url ? link(url, node) : node;
}

function special(body, label) {
  const [kind, ...rest] = body.split("^");
  if (kind === "date" && rest.length >= 2)
    return dateNode(rest[0], unescape(rest[1]), rest[2] && unescape(rest[2]), unescape(label));
  if (kind === "subteam") return h("span", { class: "mention" }, unescape(label) || `@${rest[0]}`);
  if (["here", "channel", "everyone"].includes(kind)) return h("span", { class: "mention mention-me" }, `@${kind}`);
  return document.createTextNode(unescape(label) || `<!${unescape(body)}>`);
}

/** A text object of any type as nodes: mrkdwn rendered, plain_text with its emoji (unless switched off). */
export function textObject(object) {
  if (!object) return fragment();
  if (typeof object === "string") return mrkdwn(object);
  if (object.type === "mrkdwn") return mrkdwn(object.text, { verbatim: object.verbatim === true });
  return plainText(object);
}

function plainText(object) {
  if (object.emoji === false) return fragment(object.text);
  const parts = String(object.text ?? "").split(/:([a-z0-9_+'-]+):/);
  return fragment(
    parts.map((part, i) =>
      i % 2 ? emoji(part) : part.split("\n").flatMap((line, n) => (n ? [h("br"), line] : [line])),
    ),
  );
}

/** The words alone, for names, announcements and tooltips. */
export function plain(text) {
  return mrkdwn(text).textContent;
}
