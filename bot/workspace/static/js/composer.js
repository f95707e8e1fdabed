// Where people write: drafts that survive, /commands, @people, #channels and :emoji: completed from the keyboard.
import { must } from "./api.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { openShortcuts } from "./shortcuts.js";
import { lookup, state } from "./store.js";
import { suggestions } from "./suggest.js";

const drafts = new Map();
const LIMIT = 40_000; // Slack cuts a message's text here.

/** Typed text with the names of people and channels as tokens. The server escapes the rest. */
export function encode(text) {
  const coded = text.replace(/(^|[^\p{L}\p{N}&])@(here|channel|everyone)\b/gu, "$1<!$2>");
  const users = [...state.users.values()].flatMap((user) => [
    [lookup.name(user), user.id],
    [user.name, user.id],
  ]);
  const rooms = [...state.channels.values()].filter((one) => !one.is_im).map((one) => [one.name, one.id]);
  return swap(swap(coded, "@", users), "#", rooms);
}

function swap(text, sign, pairs) {
  const longest = pairs.filter(([name]) => name).sort((a, b) => b[0].length - a[0].length);
  if (longest.length === 0) return text;
  const ids = new Map(longest.map(([name, id]) => [name.toLowerCase(), id]));
  const body = longest.map(([name]) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
  return text.replace(
    new RegExp(`(^|[^\\p{L}\\p{N}&<])${sign}(${body})(?![\\p{L}\\p{N}_-])`, "giu"),
    (_, before, name) => `${before}<${sign}${ids.get(name.toLowerCase())}>`,
  );
}

/** A composer for `channel` (and `thread`). */
export function composer({ channel, thread, placeholder, label }) {
  const key = `${state.me} ${channel} ${thread ?? ""}`;
  const box = h("textarea", {
    id: thread ? null : "composer",
    rows: 1,
    placeholder,
    "aria-label": label ?? placeholder,
    maxlength: LIMIT,
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": `suggest-${thread ?? "main"}`,
    autocomplete: "off",
    value: drafts.get(key) ?? "",
  });
  const list = h("div", {
    class: "suggest",
    id: `suggest-${thread ?? "main"}`,
    role: "listbox",
    "aria-label": "Suggestions",
    hidden: true,
  });
  const error = h("p", { class: "composer-error", role: "alert", hidden: true });
  const sendButton = h(
    "button",
    { type: "button", class: "send", "aria-label": "Send", disabled: true, onclick: send },
    icon("send"),
  );
  const insert = (text) => () => {
    box.setRangeText(text, box.selectionStart, box.selectionEnd, "end");
    box.focus();
    changed();
  };
  const tools = h(
    "div",
    { class: "composer-tools" },
    thread
      ? null
      : h(
          "button",
          {
            type: "button",
            class: "icon-button",
            "aria-label": "Shortcuts",
            title: "Shortcuts",
            "aria-haspopup": "menu",
            onclick: (event) =>
              openShortcuts(event.currentTarget, channel, (text) => {
                box.value = text;
                box.focus();
                changed();
              }),
          },
          icon("bolt"),
        ),
    h(
      "button",
      {
        type: "button",
        class: "icon-button",
        "aria-label": "Mention somebody",
        title: "Mention",
        onclick: insert("@"),
      },
      icon("at"),
    ),
    h("span", { class: "composer-hint" }, h("kbd", {}, "Enter"), " sends · ", h("kbd", {}, "Shift Enter"), " new line"),
    sendButton,
  );
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
      await must("/client/message", {
        user: state.me,
        channel,
        text: isCommand ? text : encode(text),
        thread_ts: thread,
      });
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
