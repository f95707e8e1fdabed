// The main pane for a channel or a direct message: head, pins and bookmarks, messages, composer.
import { get, must } from "./api.js";
import { composer } from "./composer.js";
import { clear, fragment, h, link } from "./dom.js";
import { emoji } from "./emoji.js";
import { icon } from "./icons.js";
import { MessageList } from "./messages.js";
import { mrkdwn, plain } from "./mrkdwn.js";
import { author } from "./message.js";
import { avatar } from "./people.js";
import { openDm } from "./dm.js";
import { menu } from "./popover.js";
import { go, toChannel } from "./route.js";
import { list, lookup, memberIds, notify, sorted, state, subscribe } from "./store.js";
import { fromTs, shortly } from "./time.js";
import { toast } from "./toast.js";

let shown = null;

const words = (value) => (typeof value === "object" ? value?.value : value) ?? "";

export const backButton = () =>
  h(
    "button",
    {
      type: "button",
      class: "icon-button back-button",
      "aria-label": "Back to the list",
      onclick: () => {
        document.body.dataset.pane = "sidebar";
        document.querySelector("#sidebar [aria-current=page]")?.focus();
      },
    },
    icon("back"),
  );

/** Show `id` in the main pane; the same channel again keeps its scroll position and draft. */
export function showChannel(id, { openThread, head = null }) {
  const mode = head ? "app" : "channel";
  if (shown?.id === id && shown.mode === mode) return shown;
  leaveChannel();
  const channel = lookup.channel(id);
  const main = clear(document.getElementById("main"));
  if (!channel) {
    main.append(
      h("header", { class: "pane-head" }, backButton(), h("div", { class: "pane-title" }, h("h1", {}, "Not here"))),
      h(
        "div",
        { class: "empty" },
        h("p", {}, "This conversation does not exist, or you are not in it."),
        h("a", { class: "button primary", href: "#/" }, "To the first channel"),
      ),
    );
    return null;
  }
  const messages = new MessageList({
    channel: id,
    openThread,
    label: `Messages in ${lookup.channelTitle(channel)}`,
    empty: introduction(channel),
  });
  const headHost = h("div", { class: "head-host" });
  const bar = h("div", { class: "bar-host" });
  const foot = h("div", { class: "foot-host" });
  main.append(headHost, bar, messages.node, foot);
  shown = { id, mode, list: messages, offs: [] };
  const drawHead = () => clear(headHost).append(head ? head() : header(lookup.channel(id)));
  const drawBar = () => clear(bar).append(pinBar(lookup.channel(id), messages));
  const drawFoot = () => footer(foot, lookup.channel(id));
  const drawAll = () => [drawHead, drawBar, drawFoot].forEach((draw) => draw());
  drawAll();
  shown.offs.push(subscribe("channel", drawAll), subscribe(`messages:${id}`, drawBar));
  return shown;
}

export function leaveChannel() {
  shown?.offs.forEach((off) => off());
  shown?.list.end();
  shown = null;
}

export const shownChannel = () => shown;

function header(channel) {
  const title = lookup.channelTitle(channel);
  const partner = channel.is_im ? lookup.partner(channel) : null;
  const sign = partner ? avatar(partner, "small") : icon(channel.is_private ? "lock" : "hash", "title-icon");
  const topic = words(channel.topic) || (partner ? partner.title : "");
  return h(
    "header",
    { class: "pane-head" },
    backButton(),
    sign,
    h(
      "div",
      { class: "pane-title" },
      h("h1", {}, title),
      topic ? h("div", { class: "topic", title: plain(topic) }, mrkdwn(topic)) : null,
    ),
    channel.is_archived ? h("span", { class: "badge-app" }, "Archived") : null,
    channel.is_im
      ? null
      : h(
          "button",
          {
            type: "button",
            class: "head-button",
            "aria-haspopup": "menu",
            "aria-label": `${memberIds(channel).length} members`,
            onclick: (event) => openMembers(event.currentTarget, channel),
          },
          icon("people"),
          h("span", {}, memberIds(channel).length),
        ),
  );
}

function openMembers(anchor, channel) {
  const everyone = memberIds(channel).map((id) => lookup.user(id) ?? { id, name: id });
  menu(anchor, "Members", [
    { heading: `Members of ${channel.name}` },
    ...everyone
      .sort((a, b) => lookup.name(a).localeCompare(lookup.name(b)))
      .map((user) => ({
        label: lookup.isMe(user.id) ? `${lookup.name(user)} (you)` : lookup.name(user),
        hint: user.title ?? (user.is_bot ? "App" : ""),
        icon: avatar(user, "small"),
        run: () => (lookup.isBot(user.id) ? go("#/home") : !lookup.isMe(user.id) && openDm(user.id)),
      })),
  ]);
}

function pinBar(channel, messages) {
  const loaded = list(channel.id);
  const earlier = (channel.pins ?? []).filter((ts) => !loaded.messages.has(ts)).map((ts) => ({ ts }));
  const pinned = [...earlier, ...sorted(loaded).filter((message) => message.pinned)];
  const marks = channel.bookmarks ?? [];
  if (pinned.length + marks.length === 0) return fragment();
  const pins = pinned.length
    ? h(
        "button",
        {
          type: "button",
          class: "bar-item",
          "aria-haspopup": "menu",
          onclick: (event) => openPins(event.currentTarget, pinned, messages),
        },
        icon("pin"),
        `${pinned.length} pinned`,
      )
    : null;
  return h("div", { class: "bar", role: "toolbar", "aria-label": "Pins and bookmarks" }, pins, marks.map(bookmark));
}

function bookmark(mark) {
  const sign = mark.emoji ? emoji(mark.emoji.replaceAll(":", "")) : icon("bookmark");
  const node = link(mark.link ?? mark.url ?? "", sign, mark.title);
  if (node instanceof HTMLElement) node.className = "bar-item";
  return node;
}

function openPins(anchor, pinned, messages) {
  menu(anchor, "Pinned messages", [
    { heading: "Pinned" },
    ...pinned.map((message) => ({
      label: message.text ? plain(message.text).slice(0, 90) : "Earlier message",
      hint: [message.user && author(message).name, shortly(fromTs(message.ts))].filter(Boolean).join(", "),
      icon: icon("pin"),
      run: () => messages.reveal(message.ts),
    })),
  ]);
}

function introduction(channel) {
  const partner = channel.is_im ? lookup.partner(channel) : null;
  const sign = partner
    ? avatar(partner)
    : h("span", { class: "intro-sign" }, icon(channel.is_private ? "lock" : "hash"));
  const text = partner
    ? `This is the beginning of your conversation with ${lookup.name(partner)}.`
    : words(channel.purpose) || "This is the very beginning of the channel.";
  return h(
    "div",
    { class: "intro" },
    sign,
    h("div", {}, h("h3", {}, lookup.channelTitle(channel)), h("p", { class: "muted" }, mrkdwn(text))),
  );
}

/** The composer, or what stands in its place. It is only built anew when it becomes another thing. */
function footer(foot, channel) {
  const kind = channel.is_archived ? "archived" : lookup.isMember(channel) ? "write" : "join";
  if (foot.dataset.kind === kind) return;
  foot.dataset.kind = kind;
  clear(foot);
  if (kind === "archived")
    foot.append(h("p", { class: "join-bar" }, "This channel is archived. It can be read, not written to."));
  else if (kind === "join")
    foot.append(
      h(
        "div",
        { class: "join-bar" },
        h("span", {}, `You are looking at #${channel.name}.`),
        h("button", { type: "button", class: "button primary", onclick: () => join(channel) }, "Join channel"),
      ),
    );
  else
    foot.append(
      composer({
        channel: channel.id,
        placeholder: `Message ${channel.is_im ? lookup.channelTitle(channel) : `#${channel.name}`}`,
      }).node,
    );
}

async function join(channel) {
  try {
    await must("/client/join", { user: state.me, channel: channel.id });
    const boot = await get("/client/boot", { user: state.me });
    boot.channels.forEach((one) => state.channels.set(one.id, { ...state.channels.get(one.id), ...one }));
    notify("channel", "channels");
    go(toChannel(channel.id));
  } catch (error) {
    toast(error.message, { kind: "error" });
  }
}
