// Ctrl/Cmd K: jump to a channel, a person, the app, or run a shortcut.
import { closePopover } from "./popover.js";
import { openDialog } from "./dialog.js";
import { openDm } from "./dm.js";
import { clear, h } from "./dom.js";
import { appName } from "./elements.js";
import { icon } from "./icons.js";
import { avatar } from "./people.js";
import { go, toChannel } from "./route.js";
import { runShortcut } from "./shortcuts.js";
import { lookup, state } from "./store.js";

let open = false;

export function installSwitcher() {
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      openSwitcher();
    }
  });
}

function places() {
  const rooms = [...state.channels.values()]
    .filter((one) => !one.is_im)
    .map((one) => ({
      text: one.name,
      hint: lookup.isMember(one) ? "" : "Not joined",
      sign: icon(one.is_private ? "lock" : "hash"),
      unread: state.unread.has(one.id),
      run: () => go(toChannel(one.id)),
    }));
  const people = [...state.users.values()]
    .filter((user) => !user.is_bot && user.id !== state.me)
    .map((user) => ({
      text: lookup.name(user),
      hint: user.title ?? "",
      sign: avatar(user, "tiny"),
      run: () => openDm(user.id),
    }));
  const app = state.app
    ? [
        {
          text: `${appName()} Home`,
          hint: "App",
          sign: avatar(lookup.user(state.app.bot_user_id), "tiny"),
          run: () => go("#/home"),
        },
      ]
    : [];
  const shortcuts = (state.app?.shortcuts ?? [])
    .filter((one) => one.type === "global")
    .map((one) => ({
      text: one.name,
      hint: one.description ?? "",
      sign: icon("bolt"),
      run: () => runShortcut(one, state.route.channel),
    }));
  return [
    ...rooms.sort((a, b) => Number(b.unread) - Number(a.unread) || a.text.localeCompare(b.text)),
    ...people,
    ...app,
    ...shortcuts,
  ];
}

/** Open it; a second call while it is open does nothing. */
export function openSwitcher() {
  if (open || document.querySelector("dialog[open]")) return;
  open = true;
  closePopover();
  const all = places();
  let shown = all;
  let active = 0;
  const field = h("input", {
    class: "input switcher-field",
    type: "text",
    placeholder: "Where to?",
    role: "combobox",
    "aria-label": "Jump to",
    "aria-expanded": "true",
    "aria-controls": "switcher-list",
    autocomplete: "off",
    spellcheck: "false",
  });
  const box = h("div", { class: "switcher-list", id: "switcher-list", role: "listbox", "aria-label": "Places" });
  const dialog = openDialog({
    title: "Jump to",
    className: "dialog-switcher",
    onDismiss: () => {
      open = false;
    },
    build: () => h("div", { class: "dialog-body" }, field, box),
  });

  const draw = () => {
    clear(box).append(
      ...shown.map((one, i) => {
        const node = h(
          "div",
          {
            class: `menu-item${i === active ? " active" : ""}`,
            role: "option",
            id: `switcher-${i}`,
            "aria-selected": String(i === active),
            onclick: () => pick(i),
          },
          one.sign,
          h("span", { class: "menu-text" }, h("span", {}, one.text), one.hint ? h("small", {}, one.hint) : null),
          one.unread ? h("span", { class: "dot" }) : null,
        );
        return node;
      }),
    );
    if (shown.length === 0) box.append(h("p", { class: "menu-note" }, "Nothing by that name"));
    field.setAttribute("aria-activedescendant", `switcher-${active}`);
    box.children[active]?.scrollIntoView({ block: "nearest" });
  };

  function pick(i) {
    if (!shown[i]) return;
    open = false;
    dialog.close();
    shown[i].run();
  }

  field.addEventListener("input", () => {
    const wanted = field.value.trim().replace(/^[#@]/, "").toLowerCase();
    shown = all
      .filter((one) => one.text.toLowerCase().includes(wanted))
      .sort(
        (a, b) => Number(b.text.toLowerCase().startsWith(wanted)) - Number(a.text.toLowerCase().startsWith(wanted)),
      );
    active = 0;
    draw();
  });
  field.addEventListener("keydown", (event) => {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move && shown.length) active = (active + move + shown.length) % shown.length;
    else if (event.key === "Enter" && !event.isComposing) return (event.preventDefault(), pick(active));
    else return;
    event.preventDefault();
    draw();
  });
  draw();
  field.focus();
}
