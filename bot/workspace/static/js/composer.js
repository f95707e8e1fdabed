// Where people write: drafts that survive, /commands, @people, #channels and :emoji: completed from the keyboard.
import { must } from "./api.js";
import { clear, h } from "./dom.js";
import { emoji, names } from "./emoji.js";
import { icon } from "./icons.js";
import { avatar } from "./people.js";
import { openShortcuts } from "./shortcuts.js";
import { lookup, state } from "./store.js";

const drafts = new Map();
const LIMIT = 40_000; // Slack cuts a message's text here.

const TRIGGERS = [
  { pattern: /^\/([a-z0-9_-]*)$/i, items: commands, threads: false },
  { pattern: /(?:^|\s)@([\p{L}\p{N}._-]*)$/u, items: people },
  { pattern: /(?:^|\s)#([\p{L}\p{N}_-]*)$/u, items: channels },
  { pattern: /(?:^|\s):([a-z0-9_+-]{2,})$/, items: emojis },
];

function commands() {
  return (state.app?.commands ?? []).map((one) => ({ text: one.command, insert: `${one.command} `, node: h("strong", {}, one.command), hint: [one.usage_hint, one.description].filter(Boolean).join(" — ") }));
}

function people() {
  const everyone = ["here", "channel"].map((word) => ({ text: word, insert: `@${word} `, node: h("strong", {}, `@${word}`), hint: "Everybody in this channel" }));
  return [...[...state.users.values()].filter((user) => !user.deleted && (!user.is_bot || lookup.isBot(user.id))).map((user) => ({
    text: `${lookup.name(user)} ${user.name}`, insert: `@${lookup.name(user)} `,
    node: h("span", { class: "picker-person" }, avatar(user, "tiny"), lookup.name(user)), hint: user.title ?? (user.is_bot ? "App" : ""),
  })), ...everyone];
}

function channels() {
  return [...state.channels.values()].filter((one) => !one.is_im && !one.is_archived).map((one) => ({ text: one.name, insert: `#${one.name} `, node: h("span", {}, `#${one.name}`), hint: one.purpose?.value ?? one.purpose ?? "" }));
}

function emojis() {
  return names().map((name) => ({ text: name, insert: `:${name}: `, node: h("span", { class: "picker-person" }, emoji(name), `:${name}:`) }));
}

/** Typed text with the names of people and channels as tokens. The server escapes the rest. */
export function encode(text) {
  const coded = text.replace(/(^|[^\p{L}\p{N}&])@(here|channel|everyone)\b/gu, "$1<!$2>");
  const users = [...state.users.values()].flatMap((user) => [[lookup.name(user), user.id], [user.name, user.id]]);
  const rooms = [...state.channels.values()].filter((one) => !one.is_im).map((one) => [one.name, one.id]);
  return swap(swap(coded, "@", users), "#", rooms);
}

function swap(text, sign, pairs) {
  const longest = pairs.filter(([name]) => name).sort((a, b) => b[0].length - a[0].length);
  if (longest.length === 0) return text;
  const ids = new Map(longest.map(([name, id]) => [name.toLowerCase(), id]));
  const body = longest.map(([name]) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
  return text.replace(new RegExp(`(^|[^\\p{L}\\p{N}&<])${sign}(${body})(?![\\p{L}\\p{N}_-])`, "giu"), (_, before, name) => `${before}<${sign}${ids.get(name.toLowerCase())}>`);
}

/** A composer for `channel` (and `thread`). */
export function composer({ channel, thread, placeholder, label }) {
  const key = `${state.me} ${channel} ${thread ?? ""}`;
  const box = h("textarea", { id: thread ? null : "composer", rows: 1, placeholder, "aria-label": label ?? placeholder, maxlength: LIMIT, "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": `suggest-${thread ?? "main"}`, autocomplete: "off", value: drafts.get(key) ?? "" });
  const list = h("div", { class: "suggest", id: `suggest-${thread ?? "main"}`, role: "listbox", "aria-label": "Suggestions", hidden: true });
  const error = h("p", { class: "composer-error", role: "alert", hidden: true });
  const sendButton = h("button", { type: "button", class: "send", "aria-label": "Send", disabled: true, onclick: send }, icon("send"));
  const insert = (text) => () => {
    box.setRangeText(text, box.selectionStart, box.selectionEnd, "end");
    box.focus();
    changed();
  };
  const tools = h("div", { class: "composer-tools" },
    thread ? null : h("button", { type: "button", class: "icon-button", "aria-label": "Shortcuts", title: "Shortcuts", "aria-haspopup": "menu", onclick: (event) => openShortcuts(event.currentTarget, channel, (text) => {
      box.value = text;
      box.focus();
      changed();
    }) }, icon("bolt")),
    h("button", { type: "button", class: "icon-button", "aria-label": "Mention somebody", title: "Mention", onclick: insert("@") }, icon("at")),
    h("span", { class: "composer-hint" }, h("kbd", {}, "Enter"), " sends · ", h("kbd", {}, "Shift Enter"), " new line"),
    sendButton);
  const node = h("div", { class: "composer" }, list, error, h("div", { class: "composer-box" }, box, tools));
  const suggest = suggestions({ box, list, inThread: Boolean(thread), changed });

  function changed() {
    drafts.set(key, box.value);
    sendButton.disabled = !box.value.trim();
    error.hidden = true;
    grow();
    suggest.update();
  }

  function grow() {
    box.style.height = "auto";
    box.style.height = `${Math.min(box.scrollHeight, innerHeight * 0.4)}px`;
  }

  async function send() {
    const text = box.value.trim();
    if (!text) return;
    const isCommand = /^\/[a-z]/i.test(text);
    if (isCommand && thread) return say(`${text.split(/\s/)[0]} does not work in threads. Use it in the channel.`);
    box.value = "";
    changed();
    try {
      await must("/client/message", { user: state.me, channel, text: isCommand ? text : encode(text), thread_ts: thread });
    } catch (problem) {
      // A command that failed is told in a line of its own, as Slack does; the text is not put back.
      if (/failed with the error/.test(problem.message)) return;
      if (!box.value) box.value = text;
      changed();
      say(problem.message);
    }
  }

  function say(text) {
    error.textContent = text;
    error.hidden = false;
  }

  box.addEventListener("input", changed);
  box.addEventListener("click", () => suggest.update());
  box.addEventListener("blur", () => suggest.close());
  box.addEventListener("keydown", (event) => {
    if (event.isComposing || suggest.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowUp" && box.value === "" && !thread) {
      const last = document.querySelector("#main .message:last-child");
      if (!last) return;
      event.preventDefault();
      last.focus();
    }
  });
  requestAnimationFrame(() => {
    grow();
    sendButton.disabled = !box.value.trim();
  });
  return { node, focus: () => box.focus({ preventScroll: true }) };
}

function suggestions({ box, list, inThread, changed }) {
  let items = [];
  let active = 0;
  let start = 0;

  function update() {
    const before = box.value.slice(0, box.selectionStart);
    for (const { pattern, items: source, threads = true } of TRIGGERS) {
      const match = pattern.exec(before);
      if (!match || (inThread && !threads)) continue;
      start = before.length - match[1].length - 1;
      return show(ranked(source(), match[1].toLowerCase()));
    }
    close();
  }

  function show(found) {
    items = found.slice(0, 8);
    if (items.length === 0) return close();
    active = Math.min(active, items.length - 1);
    clear(list).append(...items.map((item, i) => {
      const node = h("div", { class: `menu-item${i === active ? " active" : ""}`, role: "option", id: `${list.id}-${i}`, "aria-selected": String(i === active) }, h("span", { class: "menu-text" }, item.node, item.hint ? h("small", {}, item.hint) : null));
      node.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        pick(i);
      });
      return node;
    }));
    list.hidden = false;
    box.setAttribute("aria-expanded", "true");
    box.setAttribute("aria-activedescendant", `${list.id}-${active}`);
  }

  function close() {
    list.hidden = true;
    items = [];
    active = 0;
    box.setAttribute("aria-expanded", "false");
    box.removeAttribute("aria-activedescendant");
  }

  function pick(i) {
    box.setRangeText(items[i].insert, start, box.selectionStart, "end");
    close();
    changed();
    close();
  }

  /** True when the key was for the list. */
  function key(event) {
    if (list.hidden) return false;
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move) {
      active = (active + move + items.length) % items.length;
      show(items);
    } else if (event.key === "Tab" || (event.key === "Enter" && !event.shiftKey && !complete())) pick(active);
    else if (event.key === "Escape") close();
    else return false;
    event.preventDefault();
    return true;
  }

  /** A command that stands there in full is sent by Enter, not completed once more. */
  const complete = () => items[active].insert.trim() === box.value.trim() && box.value.startsWith("/");

  return { update, close, key };
}

function ranked(items, query) {
  const score = (item) => {
    const text = item.text.toLowerCase();
    return text.startsWith(query) ? 0 : text.split(/[\s/_-]/).some((word) => word.startsWith(query)) ? 1 : text.includes(query) ? 2 : 3;
  };
  return items.map((item) => [score(item), item]).filter(([rank]) => rank < 3).sort((a, b) => a[0] - b[0]).map(([, item]) => item);
}
