// A list of messages: day dividers, grouping by author, older ones on scrolling up, and a scroll position that stays put.
import { get } from "./api.js";
import { roving } from "./a11y.js";
import { h, keepingFocus, reconcile } from "./dom.js";
import { authorKey, createMessage, isSystem, updateMessage } from "./message.js";
import { fill, list, listKey, sorted, state, subscribe } from "./store.js";
import { dayKey, fromTs } from "./time.js";
import { toast } from "./toast.js";

const GROUP_SECONDS = 300;
const PAGE = 60;
const MOST = 200; // The server gives no more at once.
const NEAR_BOTTOM_PX = 80;
const TRIM_ABOVE = 600; // Below it a redraw stays well under a frame.
const TRIM_TO = 200;

/** The messages of a channel or thread in a scrolling box. Call `end()` when it leaves the screen. */
export class MessageList {
  constructor({ channel, thread, openThread, label, empty }) {
    this.spot = { channel, thread, openThread, find: (ts) => this.entry.messages.get(ts) };
    this.entry = list(channel, thread);
    this.inner = h("div", { class: "message-list", role: "list", "aria-label": label });
    this.intro = h("div", { class: "list-intro", hidden: true }, empty ?? null);
    this.newer = h(
      "button",
      { type: "button", class: "to-newest", hidden: true, onclick: () => this.toBottom() },
      "New messages ↓",
    );
    this.scroller = h("div", { class: "scroller" }, this.intro, this.inner);
    this.node = h("div", { class: "messages" }, this.scroller, this.newer);
    this.atBottom = true;
    this.seeking = false;
    this.loading = null;
    roving(this.inner, ".message");
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.off = subscribe(`messages:${listKey(channel, thread)}`, () => this.draw());
    this.watcher = new ResizeObserver(() => this.atBottom && this.stick());
    this.watcher.observe(this.inner);
    this.watcher.observe(this.scroller);
    this.minute = setInterval(() => this.draw(), 60_000);
  }

  async load() {
    if (!this.entry.loaded) await this.fetch();
    this.draw();
    this.stick();
  }

  /** Fetch the newest page, or the one before `before`. */
  fetch(before, limit = PAGE) {
    const { channel, thread } = this.spot;
    this.loading ??= get("/client/messages", { user: state.me, channel, thread_ts: thread, before, limit })
      .then((answer) => fill(channel, thread, answer))
      .catch((error) => toast(error.message, { kind: "error" }))
      .finally(() => {
        this.loading = null;
      });
    return this.loading;
  }

  async older() {
    if (!this.entry.hasMore || this.loading) return;
    const height = this.scroller.scrollHeight;
    const top = this.scroller.scrollTop;
    await this.fetch(sorted(this.entry)[0]?.ts);
    this.draw();
    this.scroller.scrollTop = top + this.scroller.scrollHeight - height;
  }

  /** Show the message `ts`, fetching older pages until it is there (at most 20), and mark it. */
  async reveal(ts) {
    await this.load();
    this.seeking = true;
    for (let page = 0; page < 20 && !this.entry.messages.has(ts) && this.entry.hasMore; page += 1) {
      await this.fetch(sorted(this.entry)[0]?.ts, MOST);
    }
    this.draw();
    this.seeking = false;
    const node = this.inner.querySelector(`[data-ts="${CSS.escape(ts)}"]`);
    if (!node) return false;
    this.atBottom = false;
    node.scrollIntoView({ block: "center" });
    node.classList.add("revealed");
    node.focus({ preventScroll: true });
    return true;
  }

  /** After hours of watching a busy channel the oldest messages are let go; scrolling up fetches them again. */
  trim() {
    if (!this.atBottom || this.seeking || this.entry.messages.size < TRIM_ABOVE || this.spot.thread) return;
    for (const { ts } of sorted(this.entry).slice(0, -TRIM_TO)) this.entry.messages.delete(ts);
    this.entry.sorted = null;
    this.entry.hasMore = true;
  }

  draw() {
    this.trim();
    const items = arrange(sorted(this.entry));
    keepingFocus(this.inner, () =>
      reconcile(this.inner, items, {
        key: (item) => item.message.ts,
        sig: (item) => item.message,
        create: (item) => this.make(item),
        update: (node, item) => this.mend(node, item),
      }),
    );
    this.restyle(items);
    this.intro.hidden = !this.entry.loaded || this.entry.hasMore;
    this.inner.setAttribute("aria-busy", String(!this.entry.loaded));
    if (this.atBottom) this.stick();
    else this.newer.hidden = this.seen === items.at(-1)?.message.ts;
    if (this.atBottom) this.seen = items.at(-1)?.message.ts;
  }

  make(item) {
    const node = createMessage(item, this.spot);
    node.dataset.look = look(item);
    return node;
  }

  mend(node, item) {
    node.dataset.look = look(item);
    updateMessage(node, item, this.spot);
  }

  /** Grouping depends on the neighbours: mend those whose place in a group changed. */
  restyle(items) {
    items.forEach((item, i) => {
      const node = this.inner.children[i];
      if (node.dataset.look !== look(item)) this.mend(node, item);
    });
    const focusable = this.inner.querySelector('.message[tabindex="0"]');
    if (!focusable && this.inner.lastElementChild) this.inner.lastElementChild.tabIndex = 0;
  }

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.atBottom = scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX;
    if (this.atBottom) {
      this.newer.hidden = true;
      this.seen = sorted(this.entry).at(-1)?.ts;
    }
    if (scrollTop < 200) this.older();
  }

  stick() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  toBottom() {
    this.atBottom = true;
    this.newer.hidden = true;
    this.stick();
  }

  end() {
    this.off();
    this.watcher.disconnect();
    clearInterval(this.minute);
  }
}

const look = ({ compact, newDay }) => `${compact ? "c" : ""}${newDay ? `d${dayKey(new Date())}` : ""}`;

/** Say for each message whether it continues the one before, and whether a new day begins. */
function arrange(messages) {
  return messages.map((message, i) => {
    const before = messages[i - 1];
    const newDay = !before || dayKey(fromTs(before.ts)) !== dayKey(fromTs(message.ts));
    return { message, newDay, compact: !newDay && continues(before, message) };
  });
}

function continues(before, message) {
  return (
    authorKey(before) === authorKey(message) &&
    !isSystem(before) &&
    !isSystem(message) &&
    !before.ephemeral &&
    !message.ephemeral &&
    !message.pinned &&
    !message.blocks?.some((block) => block.type === "header") &&
    !before.reply_count &&
    Number(message.ts) - Number(before.ts) < GROUP_SECONDS
  );
}
