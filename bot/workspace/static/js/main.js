// Putting it together: who is here, what is shown, and the stream of events.
import { get, listen } from "./api.js";
import { installEscape } from "./a11y.js";
import { leaveChannel, showChannel, shownChannel } from "./channel.js";
import { openDm } from "./dm.js";
import { clear, h } from "./dom.js";
import { apply, readSoon, refresh, showView } from "./events.js";
import { leaveHome, refreshHome, showApp } from "./home.js";
import { adoptPermalink, go, parse, toChannel } from "./route.js";
import { installSidebar } from "./sidebar.js";
import { forget, lookup, notify, state, subscribe } from "./store.js";
import { installSwitcher } from "./switcher.js";
import { closeThread, openThread, shownThread } from "./thread.js";
import { setZone } from "./time.js";
import { toast } from "./toast.js";
import { installViews } from "./views.js";

const RETRY_MS = 1500;
let stopListening = () => {};

function whoAmI() {
  return new URLSearchParams(location.search).get("user") ?? recall("user");
}

/** Be `id` in this window; the address says so, so that a reload and a second window can be different people. */
async function become(id) {
  const boot = await get("/client/boot", { user: id });
  const people = boot.users.filter((user) => !user.is_bot && !user.deleted);
  const me = people.find((user) => user.id === id) ?? people[0];
  if (!me) throw new Error("Nobody lives in this workspace yet.");
  if (me.id !== id) return become(me.id);
  stopListening();
  closeThread();
  leaveChannel();
  leaveHome();
  forget();
  state.unread.clear();
  adopt(boot, me);
  const url = new URL(location.href);
  url.searchParams.set("user", me.id);
  history.replaceState(null, "", url);
  remember("user", me.id);
  stopListening = listen(me.id, { onEvent: apply, onOpen: connected, onLost: lost });
}

function adopt(boot, me) {
  state.me = me.id;
  state.team = boot.team;
  state.app = boot.app;
  state.users = new Map(boot.users.map((user) => [user.id, user]));
  state.channels = new Map(boot.channels.map((channel) => [channel.id, channel]));
  for (const channel of boot.channels) {
    const count = typeof channel.unread === "number" ? channel.unread : 0;
    if (count > 0) state.unread.set(channel.id, { count, mentions: channel.is_im ? count : (channel.mentions ?? 0) });
  }
  setZone(me.tz);
  document.title = boot.team?.name ?? "Workspace";
}

async function connected(first) {
  state.online = true;
  notify("net");
  try {
    if (!first) await catchUp();
    const { view, stack } = await get("/client/view", { user: state.me });
    reopen(view, stack, first);
  } catch (error) {
    toast(error.message, { kind: "error" });
  }
}

/** A modal survives a reload of the very window it was in, and a lost connection when it is still open at the server. */
function reopen(view, stack, first) {
  if (!first) state.views = state.views.filter((one) => stack.includes(one.id));
  if (view && (state.views.length > 0 || recall("modal") === view.id)) showView(view);
  notify("views");
}

function rememberModal() {
  remember("modal", state.views.at(-1)?.id ?? "");
}

/** Small things that this window keeps over a reload. Without storage they are lost, no more. */
function remember(name, value) {
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // Storage can be forbidden.
  }
}

function recall(name) {
  try {
    return sessionStorage.getItem(name) ?? "";
  } catch {
    return "";
  }
}

async function catchUp() {
  const boot = await get("/client/boot", { user: state.me });
  boot.channels.forEach((channel) => state.channels.set(channel.id, { ...state.channels.get(channel.id), ...channel }));
  boot.users.forEach((user) => state.users.set(user.id, user));
  state.app = boot.app;
  notify("channels", "channel");
  const channel = shownChannel();
  const keys = [channel && { channel: channel.id }, shownThread()].filter(Boolean);
  for (const key of state.lists.keys())
    if (!keys.some((one) => key === one.channel || key === `${one.channel}:${one.thread}`)) state.lists.delete(key);
  await refresh(keys);
  await refreshHome();
}

function lost() {
  state.online = false;
  notify("net");
}

function defaultChannel() {
  const mine = [...state.channels.values()].filter(
    (channel) => !channel.is_im && !channel.is_archived && lookup.isMember(channel),
  );
  return (
    (
      mine.find((channel) => channel.name === "incidents") ??
      mine.find((channel) => channel.name === "general") ??
      mine[0]
    )?.id ?? ""
  );
}

async function routed() {
  const route = parse(location.hash);
  if (route.name === "default")
    return (
      history.replaceState(null, "", `${location.pathname}${location.search}${toChannel(defaultChannel())}`),
      routed()
    );
  const botDm = lookup.channel(route.channel);
  if (route.name === "channel" && botDm?.is_im && lookup.isBot(lookup.partner(botDm)?.id))
    Object.assign(route, { name: "home", tab: "messages", ts: route.ts });
  state.route = route;
  document.body.dataset.pane = "main";
  if (!route.thread) closeThread();
  const pane =
    route.name === "home"
      ? await showApp(route, { openThread: threadOpener(route) })
      : (leaveHome(), showChannel(route.channel, { openThread: threadOpener(route) }));
  if (state.route !== route) return;
  markRead();
  notify("channels");
  await reveal(route, pane);
}

async function reveal(route, pane) {
  if (!pane) return;
  if (route.thread) {
    await pane.list.reveal(route.thread);
    return showThread(route, route.thread, { reveal: route.ts });
  }
  if (route.ts && !(await pane.list.reveal(route.ts))) toast("This message is not here any more.");
  if (!route.ts) {
    await pane.list.load();
    if (matchMedia("(hover: hover) and (min-width: 641px)").matches && !document.querySelector("dialog[open]"))
      document.querySelector("#main .composer textarea")?.focus({ preventScroll: true });
  }
}

const threadOpener = (route) => (message) => showThread(route, message.thread_ts ?? message.ts, {});

function showThread(route, ts, options) {
  state.route.thread = ts;
  return openThread(route.channel, ts, {
    ...options,
    onClose: () => {
      state.route.thread = null;
      closeThread();
      if (parse(location.hash).thread)
        history.replaceState(null, "", `${location.pathname}${location.search}${toChannel(route.channel)}`);
      document.querySelector(`#main [data-ts="${CSS.escape(ts)}"]`)?.focus({ preventScroll: true });
    },
  });
}

function markRead() {
  if (!document.hasFocus() || !state.unread.delete(state.route.channel)) return;
  readSoon(state.route.channel);
  notify("channels");
}

function title() {
  const loud = [...state.unread.values()].reduce((sum, one) => sum + one.mentions, 0);
  const sign = loud ? `(${loud}) ` : state.unread.size ? "• " : "";
  document.title = `${sign}${state.team?.name ?? "Workspace"}`;
}

async function becomeAgain(id) {
  try {
    await become(id);
    notify("channels", "net", "views");
    await routed();
  } catch (error) {
    toast(error.message, { kind: "error" });
  }
}

/** A press on @somebody opens the conversation with them; one on the place where you are shows it again (narrow screens). */
function installLinks() {
  document.addEventListener("click", (event) => {
    if (event.target.closest?.(".skip-link")) {
      event.preventDefault();
      return document.querySelector("#main .composer textarea")?.focus();
    }
    const anchor = event.target.closest?.('a[href^="#/"]');
    if (anchor && anchor.hash === location.hash) return go(anchor.hash);
    const mention = event.target.closest?.("button.mention[data-user]");
    if (!mention || lookup.isMe(mention.dataset.user)) return;
    if (lookup.isBot(mention.dataset.user)) go("#/home");
    else openDm(mention.dataset.user);
  });
}

async function start() {
  adoptPermalink();
  try {
    await become(whoAmI());
  } catch (error) {
    clear(document.getElementById("main")).append(h("div", { class: "empty" }, h("p", {}, error.message)));
    return setTimeout(start, RETRY_MS);
  }
  installEscape();
  installSwitcher();
  installLinks();
  installViews();
  installSidebar({ becomeUser: becomeAgain });
  subscribe("channels", title);
  subscribe("views", rememberModal);
  addEventListener("hashchange", routed);
  addEventListener("focus", markRead);
  await routed();
}

start();
