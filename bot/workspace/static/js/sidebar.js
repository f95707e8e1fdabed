// Channels, people and the app; who you are; what is unread.
import { roving } from "./a11y.js";
import { newChannel, openDm } from "./dm.js";
import { clear, h, keepingFocus } from "./dom.js";
import { appName } from "./elements.js";
import { icon } from "./icons.js";
import { avatar } from "./people.js";
import { menu } from "./popover.js";
import { toChannel } from "./route.js";
import { lookup, state, subscribe } from "./store.js";
import { openSwitcher } from "./switcher.js";

/** Draw the sidebar and keep it right. `becomeUser(id)` signs in as somebody else. */
export function installSidebar({ becomeUser }) {
  const root = document.getElementById("sidebar");
  roving(root, ".nav-item");
  const draw = () => keepingFocus(root, () => clear(root).append(top(), middle(), bottom(becomeUser)));
  subscribe("channels", draw);
  subscribe("channel", draw);
  subscribe("net", draw);
  draw();
}

function top() {
  const label = navigator.platform?.startsWith("Mac") ? "⌘K" : "Ctrl K";
  return h(
    "div",
    { class: "side-top" },
    h(
      "div",
      { class: "team" },
      h("span", { class: "team-name" }, state.team?.name ?? "Workspace"),
      state.online ? null : h("span", { class: "offline", role: "status" }, "Reconnecting…"),
    ),
    h(
      "button",
      { type: "button", class: "jump", data: { fk: "side\u001fjump" }, onclick: openSwitcher },
      icon("search"),
      h("span", {}, "Jump to…"),
      h("kbd", {}, label),
    ),
  );
}

function middle() {
  const all = [...state.channels.values()].filter((one) => !one.is_archived);
  const mine = all
    .filter((one) => !one.is_im && (lookup.isMember(one) || one.id === state.route.channel))
    .sort((a, b) => a.name.localeCompare(b.name));
  const direct = all
    .filter((one) => one.is_im && lookup.partner(one) && !lookup.isBot(lookup.partner(one).id))
    .sort((a, b) => lookup.channelTitle(a).localeCompare(lookup.channelTitle(b)));
  const others = [...state.users.values()].filter(
    (user) =>
      !user.is_bot &&
      !user.deleted &&
      user.id !== state.me &&
      !direct.some((one) => lookup.partner(one).id === user.id),
  );
  return h(
    "div",
    { class: "side-lists" },
    state.app ? [heading("Apps"), appItem()] : null,
    heading(
      "Channels",
      h(
        "button",
        {
          type: "button",
          class: "icon-button",
          "aria-label": "New channel",
          title: "New channel",
          data: { fk: "side\u001fnew" },
          onclick: newChannel,
        },
        icon("plus"),
      ),
    ),
    mine.map((one) => item(one, icon(one.is_private ? "lock" : "hash"))),
    heading("Direct messages"),
    direct.map((one) => item(one, avatar(lookup.partner(one), "tiny"))),
    others.map((user) =>
      h(
        "button",
        {
          type: "button",
          class: "nav-item quiet",
          data: { fk: `user\u001f${user.id}` },
          onclick: () => openDm(user.id),
        },
        avatar(user, "tiny"),
        h("span", { class: "nav-name" }, lookup.name(user)),
      ),
    ),
  );
}

const heading = (text, extra) => h("div", { class: "side-heading" }, h("h2", {}, text), extra ?? null);

function appItem() {
  const dm = [...state.channels.values()].find((one) => one.is_im && lookup.isBot(lookup.partner(one)?.id));
  const unread = dm ? state.unread.get(dm.id) : null;
  const here = state.route.name === "home" || (dm && state.route.channel === dm.id);
  return navItem({
    href: unread ? "#/home/messages" : "#/home",
    key: "app",
    here,
    sign: avatar(lookup.user(state.app.bot_user_id), "tiny"),
    name: appName(),
    unread,
  });
}

function item(channel, sign) {
  const here = state.route.name === "channel" && state.route.channel === channel.id;
  return navItem({
    href: toChannel(channel.id),
    key: channel.id,
    here,
    sign,
    name: lookup.channelTitle(channel),
    unread: here && document.hasFocus() ? null : state.unread.get(channel.id),
  });
}

function navItem({ href, key, here, sign, name, unread }) {
  const count = unread?.mentions ?? 0;
  const spoken = count ? `, ${count} for you` : unread ? `, ${unread.count} unread` : "";
  return h(
    "a",
    {
      class: `nav-item${unread ? " unread" : ""}`,
      href,
      "aria-current": here ? "page" : null,
      "aria-label": name + spoken,
      data: { fk: `nav\u001f${key}`, nav: key },
    },
    sign,
    h("span", { class: "nav-name" }, name),
    count ? h("span", { class: "count" }, count > 99 ? "99+" : count) : unread ? h("span", { class: "dot" }) : null,
  );
}

function bottom(becomeUser) {
  const me = lookup.me();
  const people = [...state.users.values()].filter((user) => !user.is_bot && !user.deleted);
  const open = (event) =>
    menu(event.currentTarget, "Be somebody else", [
      { heading: "Be in this window" },
      ...people.map((user) => ({
        label: lookup.name(user),
        hint: user.title ?? "",
        icon: avatar(user, "small"),
        checked: user.id === state.me,
        run: () => becomeUser(user.id),
      })),
      "-",
      { heading: "Open another window as" },
      ...people
        .filter((user) => user.id !== state.me)
        .map((user) => ({
          label: lookup.name(user),
          icon: avatar(user, "tiny"),
          run: () =>
            window.open(
              `${location.pathname}?user=${encodeURIComponent(user.id)}${location.hash}`,
              "_blank",
              "noopener",
            ),
        })),
    ]);
  return h(
    "div",
    { class: "side-foot" },
    h(
      "button",
      {
        type: "button",
        class: "me",
        "aria-haspopup": "menu",
        "aria-expanded": "false",
        data: { fk: "side\u001fme" },
        onclick: open,
      },
      avatar(me, "small"),
      h("span", { class: "me-name" }, h("small", {}, "You are"), lookup.name(me)),
      icon("down"),
    ),
    h(
      "button",
      {
        type: "button",
        class: "icon-button",
        "aria-label": `Colours: ${theme()}`,
        title: `Colours: ${theme()}`,
        data: { fk: "side\u001ftheme" },
        onclick: nextTheme,
      },
      icon("theme"),
    ),
  );
}

const theme = () => document.documentElement.dataset.theme ?? "as the system";

function nextTheme(event) {
  const root = document.documentElement;
  const next = { undefined: "dark", dark: "light", light: undefined }[root.dataset.theme];
  if (next) root.dataset.theme = next;
  else delete root.dataset.theme;
  try {
    if (next) localStorage.setItem("theme", next);
    else localStorage.removeItem("theme");
  } catch {
    // Storage can be forbidden; the choice then lasts for this window.
  }
  event.currentTarget.setAttribute("aria-label", `Colours: ${theme()}`);
  event.currentTarget.title = `Colours: ${theme()}`;
}
