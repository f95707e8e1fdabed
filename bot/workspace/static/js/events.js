// From what the server pushes to what the browser knows.
import { change, fill, list, listKey, lookup, notify, put, state } from "./store.js";
import { get } from "./api.js";
import { toast } from "./toast.js";
import { announce } from "./a11y.js";
import { plain } from "./mrkdwn.js";

const isReply = (message) => message.thread_ts && message.thread_ts !== message.ts;

/** Apply one event of the stream. Unknown kinds are ignored: a newer server may say more. */
export function apply(event) {
  HANDLERS[event.type]?.(event);
}

function arrived({ channel, message }) {
  if (isReply(message)) {
    place(channel, message.thread_ts, message);
    if (!message.ephemeral) countReply(channel, message);
    if (message.subtype !== "thread_broadcast") return unreadReply(channel, message);
  }
  place(channel, undefined, message);
  markUnread(channel, message);
}

function place(channel, thread, message) {
  const entry = list(channel, thread);
  if (!entry.loaded) return;
  if (put(entry, message)) notify(`messages:${listKey(channel, thread)}`);
}

/** The parent's figures, in case the server does not send the changed parent itself; doing it twice changes nothing. */
function countReply(channel, reply) {
  change(channel, reply.thread_ts, (parent) => {
    if ((parent.latest_reply ?? "") >= reply.ts) return parent;
    const people = parent.reply_users ?? [];
    return {
      ...parent,
      reply_count: (parent.reply_count ?? 0) + 1,
      latest_reply: reply.ts,
      reply_users: people.includes(reply.user) ? people : [...people, reply.user],
    };
  });
}

const mentionsMe = (message) =>
  (message.text ?? "").includes(`<@${state.me}`) || /<!(here|channel|everyone)/.test(message.text ?? "");
const author = (message) => message.username || lookup.name(state.users.get(message.user));

function markUnread(channel, message) {
  if (message.user === state.me && !message.ephemeral) return;
  const shown = state.route.channel === channel && document.getElementById("main").offsetParent !== null;
  if (shown || message.ephemeral) announce(`${author(message)}: ${plain(message.text).slice(0, 200)}`);
  if (shown && document.hasFocus()) return readSoon(channel);
  const before = state.unread.get(channel) ?? { count: 0, mentions: 0 };
  const loud = mentionsMe(message) || message.ephemeral || state.channels.get(channel)?.is_im;
  state.unread.set(channel, { count: before.count + 1, mentions: before.mentions + (loud ? 1 : 0) });
  notify("channels");
}

const READ_MS = 1000; // Enough to tell the server once for a burst of messages.
let reading = 0;

/** Tell the server that the newest message has been seen: it takes a look at the newest one for reading it. */
export function readSoon(channel) {
  clearTimeout(reading);
  const user = state.me;
  reading = setTimeout(() => get("/client/messages", { user, channel, limit: 1 }).catch(() => {}), READ_MS);
}

function unreadReply(channel, message) {
  if (message.user === state.me) return;
  if (state.route.thread === message.thread_ts)
    announce(`${author(message)} replied: ${plain(message.text).slice(0, 200)}`);
  else if (mentionsMe(message)) markUnread(channel, message);
}

function changed({ channel, message, previous_ts: previous }) {
  if (previous && previous !== message.ts) change(channel, previous, () => null);
  change(channel, message.ts, () => message);
}

function ephemeral({ channel, message }) {
  arrived({ channel, message: { ...message, ephemeral: true } });
}

function ephemeralReplaced({ channel, ts, message }) {
  if (!message) return change(channel, ts, () => null);
  if (message.ts !== ts) change(channel, ts, () => null);
  const shown = { ...message, ephemeral: true };
  change(channel, message.ts, () => shown);
  place(channel, isReply(shown) ? shown.thread_ts : undefined, shown);
}

function reaction(event) {
  change(event.channel, event.ts, (message) => ({ ...message, reactions: event.reactions }));
}

function channelChanged({ channel }) {
  if (typeof channel !== "object") return refreshChannels();
  state.channels.set(channel.id, { ...state.channels.get(channel.id), ...channel });
  notify("channels", "channel");
}

async function refreshChannels() {
  const boot = await get("/client/boot", { user: state.me });
  boot.channels.forEach((channel) => state.channels.set(channel.id, { ...state.channels.get(channel.id), ...channel }));
  notify("channels", "channel");
}

function member({ channel, members }) {
  const known = state.channels.get(channel);
  if (!known) return refreshChannels();
  state.channels.set(channel, { ...known, members });
  notify("channels", "channel");
}

/** Show a view that the app opened, pushed or updated. The same view told twice is shown once. */
export function showView(view) {
  if (!view || view.type === "home") return view && showHome(view);
  const at = state.views.findIndex((one) => one.id === view.id);
  if (at >= 0) state.views = state.views.with(at, view);
  else if (state.views.some((one) => one.id === view.previous_view_id || one.id === view.root_view_id))
    state.views = [...state.views, view];
  else state.views = [view];
  notify("views");
}

export function showHome(view) {
  state.home = view ?? null;
  notify("home");
}

export function closeView(viewId, { all = false } = {}) {
  const at = state.views.findIndex((one) => one.id === viewId);
  if (at < 0 && !all) return;
  state.views = all ? [] : state.views.slice(0, at);
  notify("views");
}

/** The server closed these views; `view` is what lies on top now, which this window may not have seen before. */
function viewsClosed({ view_id: viewId, closed = [viewId], view }) {
  state.views = state.views.filter((one) => !closed.includes(one.id));
  if (view && state.views.at(-1)?.id !== view.id) state.views = [...state.views, view];
  notify("views");
}

const HANDLERS = {
  message: arrived,
  message_changed: changed,
  message_deleted: ({ channel, ts }) => change(channel, ts, () => null),
  ephemeral,
  ephemeral_replaced: ephemeralReplaced,
  reaction,
  view_opened: ({ view }) => showView(view),
  view_updated: ({ view }) => showView(view),
  view_pushed: ({ view }) => showView(view),
  view_closed: viewsClosed,
  home: ({ view }) => showHome(view),
  channel_created: channelChanged,
  channel_changed: channelChanged,
  member,
  app_error: ({ text, channel }) => toast(text, { kind: "error", channel }),
};

/** After a lost connection: fetch again what is on the screen. */
export async function refresh(keys) {
  for (const { channel, thread } of keys) {
    const answer = await get("/client/messages", { user: state.me, channel, thread_ts: thread, limit: 60 });
    const entry = list(channel, thread);
    const oldest = answer.messages.map(({ ts }) => ts).sort()[0] ?? "";
    const present = new Set(answer.messages.map(({ ts }) => ts));
    for (const ts of [...entry.messages.keys()]) if (ts >= oldest && !present.has(ts)) entry.messages.delete(ts);
    entry.sorted = null;
    const hadMore = entry.loaded ? entry.hasMore : answer.has_more;
    fill(channel, thread, { ...answer, has_more: hadMore });
  }
}
