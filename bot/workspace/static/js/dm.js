// Opening direct messages and making channels.
import { get, must } from "./api.js";
import { openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { go, toChannel } from "./route.js";
import { lookup, notify, state } from "./store.js";
import { toast } from "./toast.js";

/** The direct-message channel with `other`, made when there is none. */
export async function dmWith(other) {
  const known = [...state.channels.values()].find((one) => one.is_im && lookup.partner(one)?.id === other);
  if (known) return known.id;
  const answer = await must("/client/dm", { user: state.me, other });
  const id = answer.channel?.id ?? answer.channel;
  if (typeof answer.channel === "object") state.channels.set(id, answer.channel);
  else await reloadChannels();
  notify("channels");
  return id;
}

export async function reloadChannels() {
  const boot = await get("/client/boot", { user: state.me });
  boot.channels.forEach((one) => state.channels.set(one.id, { ...state.channels.get(one.id), ...one }));
  notify("channels", "channel");
}

export async function openDm(other) {
  try {
    go(toChannel(await dmWith(other)));
  } catch (error) {
    toast(error.message, { kind: "error" });
  }
}

/** The form for a new channel. */
export function newChannel() {
  openDialog({
    title: "New channel",
    className: "dialog-small",
    build: (close) => {
      const name = h("input", {
        class: "input",
        id: "new-channel-name",
        maxlength: 80,
        autocomplete: "off",
        spellcheck: "false",
        placeholder: "inc-checkout",
        "aria-describedby": "new-channel-error",
      });
      const secret = h("input", { type: "checkbox" });
      const error = h("p", { class: "field-error", id: "new-channel-error", role: "alert", hidden: true });
      name.addEventListener("input", () => {
        name.value = name.value.toLowerCase().replaceAll(" ", "-");
      });
      return h(
        "form",
        {
          class: "dialog-body",
          onsubmit: (event) => {
            event.preventDefault();
            create(name.value.trim(), secret.checked).then(close, (problem) => {
              error.textContent = problem.message;
              error.hidden = false;
              name.focus();
            });
          },
        },
        h(
          "div",
          { class: "field-block" },
          h("label", { class: "label", for: "new-channel-name" }, "Name"),
          name,
          error,
          h("p", { class: "hint" }, "Lower-case letters, digits, hyphens and underscores."),
        ),
        h(
          "label",
          { class: "choice" },
          secret,
          h("span", {}, "Private", h("small", {}, "Only people who are invited can see it.")),
        ),
        h(
          "footer",
          { class: "dialog-foot" },
          h("button", { type: "button", class: "button", onclick: close }, "Cancel"),
          h("button", { type: "submit", class: "button primary" }, "Create"),
        ),
      );
    },
  })
    .node.querySelector("input")
    .focus();
}

async function create(name, isPrivate) {
  const answer = await must("/client/channel", { user: state.me, name, private: isPrivate });
  await reloadChannels();
  go(toChannel(answer.channel?.id ?? answer.channel));
}
