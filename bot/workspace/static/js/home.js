// The app's own place: its Home tab and its Messages tab.
import { post } from "./api.js";
import { showBlocks } from "./blocks.js";
import { backButton, leaveChannel, showChannel } from "./channel.js";
import { clear, h } from "./dom.js";
import { reloadChannels } from "./dm.js";
import { appName } from "./elements.js";
import { showHome } from "./events.js";
import { avatar } from "./people.js";
import { lookup, state, subscribe } from "./store.js";
import { Surface } from "./surface.js";
import { toast } from "./toast.js";

let shown = null;

/** Show the tab of `route`. */
export async function showApp(route, { openThread }) {
  if (route.tab === "messages") {
    leaveHome();
    const { channel: id } = await post("/client/home", { user: state.me, tab: "messages" });
    if (!state.channels.has(id)) await reloadChannels();
    if (state.route !== route) return null;
    route.channel = id;
    return showChannel(id, { openThread, head: () => head("messages") });
  }
  return openHome();
}

function head(tab) {
  const to = (name, hash, label) =>
    h("a", { class: "tab", href: hash, "aria-current": tab === name ? "page" : null }, label);
  return h(
    "header",
    { class: "pane-head pane-head-app" },
    backButton(),
    avatar(lookup.user(state.app.bot_user_id), "small"),
    h("div", { class: "pane-title" }, h("h1", {}, appName(), h("span", { class: "badge-app" }, "App"))),
    h(
      "nav",
      { class: "tabs", "aria-label": appName() },
      to("home", "#/home", "Home"),
      to("messages", "#/home/messages", "Messages"),
    ),
  );
}

async function openHome() {
  if (!shown) {
    leaveChannel();
    const blocks = h("div", { class: "blocks home-blocks" });
    const error = h("p", { class: "message-error", role: "alert", hidden: true });
    const empty = h("p", { class: "empty", hidden: true });
    clear(document.getElementById("main")).append(
      head("home"),
      h("div", { class: "scroller home", tabindex: -1 }, error, blocks, empty),
    );
    const say = (text) => {
      error.textContent = text;
      error.hidden = !text;
    };
    const surface = new Surface({
      kind: "home",
      id: "home",
      container: () => ({ type: "view", view_id: state.home?.id }),
      onStart: () => say(""),
      onError: say,
    });
    shown = { blocks, empty, surface, off: subscribe("home", draw) };
  }
  draw();
  try {
    const answer = await post("/client/home", { user: state.me });
    if (answer.view) showHome(answer.view);
    shown && (shown.asked = true);
    draw();
  } catch (error) {
    toast(error.message, { kind: "error" });
  }
  return null;
}

function draw() {
  if (!shown) return;
  showBlocks(shown.blocks, state.home?.blocks ?? [], shown.surface);
  shown.empty.hidden = Boolean(state.home) || !shown.asked;
  shown.empty.textContent = `${appName()} has nothing here yet. When it does, it appears by itself.`;
}

export function leaveHome() {
  shown?.off();
  shown = null;
}

/** After a lost connection. */
export async function refreshHome() {
  if (!shown) return;
  const answer = await post("/client/home", { user: state.me });
  if (answer.view) showHome(answer.view);
}
