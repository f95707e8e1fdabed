// What the browser knows. Changes are told to subscribers once per frame, however many events came in between.

export const state = {
  team: null,
  me: "",
  users: new Map(),
  channels: new Map(),
  app: null,
  lists: new Map(), // "C…" or "C…:thread_ts" → {messages: Map ts → message, sorted, hasMore, loaded}
  unread: new Map(), // channel → {count, mentions}
  views: [], // the stack of open modals, the top one last
  home: null,
  online: true,
  route: { name: "channel", channel: "" },
};

const subscribers = new Map();
const dirty = new Set();
let scheduled = false;

/** Call `render` in the next frame after `notify(topic)`. Returns a function that ends it. */
export function subscribe(topic, render) {
  if (!subscribers.has(topic)) subscribers.set(topic, new Set());
  subscribers.get(topic).add(render);
  return () => subscribers.get(topic).delete(render);
}

export function notify(...topics) {
  topics.forEach((topic) => dirty.add(topic));
  if (scheduled) return;
  scheduled = true;
  let done = false;
  const run = () => {
    if (done) return;
    done = true;
    flush();
  };
  requestAnimationFrame(run);
  setTimeout(run, 250); // A hidden window gets no frames.
}

/** A redraw between press and release would swallow the click: wait for the release, at most HELD_MS. */
let held = 0;
const HELD_MS = 700;
addEventListener(
  "pointerdown",
  (event) => {
    held = event.target.closest?.("button, a, label, input, summary") ? performance.now() : 0;
  },
  true,
);
for (const end of ["pointerup", "pointercancel"]) {
  addEventListener(
    end,
    () =>
      setTimeout(() => {
        held = 0;
      }),
    true,
  );
}

function flush() {
  if (held && performance.now() - held < HELD_MS) return setTimeout(flush, 30);
  scheduled = false;
  const topics = [...dirty];
  dirty.clear();
  for (const topic of topics) for (const render of [...(subscribers.get(topic) ?? [])]) render();
}

export const lookup = {
  user: (id) => state.users.get(id),
  channel: (id) => state.channels.get(id),
  isMe: (id) => id === state.me,
  isBot: (id) => id === state.app?.bot_user_id,
  name: (user) => (user?.is_bot ? user.real_name || user.name : user?.real_name || user?.name) ?? "Somebody",
  me: () => state.users.get(state.me),
  /** The other person of a direct message. */
  partner(channel) {
    const other =
      channel.user && channel.user !== state.me ? channel.user : memberIds(channel).find((id) => id !== state.me);
    return state.users.get(other);
  },
  channelTitle(channel) {
    return channel.is_im ? lookup.name(lookup.partner(channel)) : channel.name;
  },
  isMember: (channel) => channel.is_im || memberIds(channel).includes(state.me),
};

export const memberIds = (channel) => (Array.isArray(channel?.members) ? channel.members : []);

export const listKey = (channel, thread) => (thread ? `${channel}:${thread}` : channel);

export function list(channel, thread) {
  const key = listKey(channel, thread);
  if (!state.lists.has(key)) state.lists.set(key, { messages: new Map(), sorted: null, hasMore: false, loaded: false });
  return state.lists.get(key);
}

export function sorted(entry) {
  entry.sorted ??= [...entry.messages.values()].sort((a, b) => (a.ts < b.ts ? -1 : a.ts > b.ts ? 1 : 0));
  return entry.sorted;
}

/** Put a message into a list; an identical one is left alone, so that its node is not drawn again. */
export function put(entry, told) {
  const message = { ...told, pinned: Boolean(told.pinned ?? told.pinned_to?.length) };
  const old = entry.messages.get(message.ts);
  if (old && JSON.stringify(old) === JSON.stringify(message)) return false;
  entry.messages.set(message.ts, message);
  entry.sorted = null;
  return true;
}

export function fill(channel, thread, answer) {
  const entry = list(channel, thread);
  answer.messages.forEach((message) => put(entry, message));
  entry.hasMore = Boolean(answer.has_more);
  entry.loaded = true;
  notify(`messages:${listKey(channel, thread)}`);
  return entry;
}

/** Change one message wherever it is shown. `change` returns the new message, or null to remove it. */
export function change(channel, ts, edit) {
  for (const [key, entry] of state.lists) {
    if ((key !== channel && !key.startsWith(`${channel}:`)) || !entry.messages.has(ts)) continue;
    const next = edit(entry.messages.get(ts));
    if (next) put(entry, next);
    else entry.messages.delete(ts);
    entry.sorted = null;
    notify(`messages:${key}`);
  }
}

export function forget() {
  state.lists.clear();
  state.views = [];
  state.home = null;
}
