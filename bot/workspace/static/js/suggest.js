// What the composer offers while somebody types: /commands, @people, #channels, :emoji:
import { clear, h } from "./dom.js";
import { emoji, names } from "./emoji.js";
import { avatar } from "./people.js";
import { lookup, state } from "./store.js";

export function suggestions({ box, list, inThread, changed }) {
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
    clear(list).append(
      ...items.map((item, i) => {
        const node = h(
          "div",
          {
            class: `menu-item${i === active ? " active" : ""}`,
            role: "option",
            id: `${list.id}-${i}`,
            "aria-selected": String(i === active),
          },
          h("span", { class: "menu-text" }, item.node, item.hint ? h("small", {}, item.hint) : null),
        );
        node.addEventListener("pointerdown", (event) => {
          event.preventDefault();
          pick(i);
        });
        return node;
      }),
    );
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
    return text.startsWith(query)
      ? 0
      : text.split(/[\s/_-]/).some((word) => word.startsWith(query))
        ? 1
        : text.includes(query)
          ? 2
          : 3;
  };
  return items
    .map((item) => [score(item), item])
    .filter(([rank]) => rank < 3)
    .sort((a, b) => a[0] - b[0])
    .map(([, item]) => item);
}

const TRIGGERS = [
  { pattern: /^\/([a-z0-9_-]*)$/i, items: commands, threads: false },
  { pattern: /(?:^|\s)@([\p{L}\p{N}._-]*)$/u, items: people },
  { pattern: /(?:^|\s)#([\p{L}\p{N}_-]*)$/u, items: channels },
  { pattern: /(?:^|\s):([a-z0-9_+-]{2,})$/, items: emojis },
];

function commands() {
  return (state.app?.commands ?? []).map((one) => ({
    text: one.command,
    insert: `${one.command} `,
    node: h("strong", {}, one.command),
    hint: [one.usage_hint, one.description].filter(Boolean).join(" — "),
  }));
}

function people() {
  const everyone = ["here", "channel"].map((word) => ({
    text: word,
    insert: `@${word} `,
    node: h("strong", {}, `@${word}`),
    hint: "Everybody in this channel",
  }));
  return [
    ...[...state.users.values()]
      .filter((user) => !user.deleted && (!user.is_bot || lookup.isBot(user.id)))
      .map((user) => ({
        text: `${lookup.name(user)} ${user.name}`,
        insert: `@${lookup.name(user)} `,
        node: h("span", { class: "picker-person" }, avatar(user, "tiny"), lookup.name(user)),
        hint: user.title ?? (user.is_bot ? "App" : ""),
      })),
    ...everyone,
  ];
}

function channels() {
  return [...state.channels.values()]
    .filter((one) => !one.is_im && !one.is_archived)
    .map((one) => ({
      text: one.name,
      insert: `#${one.name} `,
      node: h("span", {}, `#${one.name}`),
      hint: one.purpose?.value ?? one.purpose ?? "",
    }));
}

function emojis() {
  return names().map((name) => ({
    text: name,
    insert: `:${name}: `,
    node: h("span", { class: "picker-person" }, emoji(name), `:${name}:`),
  }));
}
