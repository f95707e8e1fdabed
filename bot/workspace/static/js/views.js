// Modals: the stack of views an app has opened for this person. Only the top one is shown; the others keep their values.
import { must, post, sentence } from "./api.js";
import { openDialog } from "./dialog.js";
import { h, keepingFocus } from "./dom.js";
import { textObject } from "./mrkdwn.js";
import { showBlocks } from "./blocks.js";
import { appName } from "./elements.js";
import { closeView, showView } from "./events.js";
import { state, subscribe } from "./store.js";
import { Surface } from "./surface.js";
import { problems } from "./values.js";

const TROUBLE = () => `${appName()} did not answer in time. Nothing was submitted; try again.`;

const known = new Map(); // view id → {surface, body, form, error}
let dialog = null;
let shownId = null;

export function installViews() {
  subscribe("views", draw);
}

function draw() {
  for (const id of known.keys()) if (!state.views.some((view) => view.id === id)) known.delete(id);
  const top = state.views.at(-1);
  if (!top) return shut();
  dialog ??= openDialog({
    title: "",
    className: "dialog-view",
    onDismiss: dismissed,
    onCross: () => leave({ clear: true }),
    onBack: () => leave(),
    build: () => h("div", { class: "view-host" }),
  });
  const parts = partsOf(top);
  dialog.heading.replaceChildren(textObject(top.title));
  dialog.back.hidden = state.views.length < 2;
  const host = dialog.node.querySelector(".view-host");
  for (const child of [...host.children]) child.hidden = child !== parts.form;
  if (parts.form.parentNode !== host) host.append(parts.form);
  for (const child of [...host.children]) if (![...known.values()].some((one) => one.form === child)) child.remove();
  showBlocks(parts.body, top.blocks, parts.surface);
  keepingFocus(parts.foot, () => parts.foot.replaceChildren(...buttons(top, parts)));
  if (shownId !== top.id) focusFirst(parts, top);
  shownId = top.id;
}

function shut() {
  const old = dialog;
  dialog = null;
  shownId = null;
  old?.close();
}

function partsOf(view) {
  if (known.has(view.id)) return known.get(view.id);
  const body = h("div", { class: "view-body blocks", tabindex: 0 });
  const error = h("p", { class: "view-error", role: "alert", hidden: true });
  const foot = h("footer", { class: "dialog-foot" });
  const form = h("form", { class: "view-form", novalidate: true }, body, error, foot);
  const surface = new Surface({
    kind: "view",
    id: view.id,
    here: state.route.channel,
    container: () => ({ type: "view", view_id: view.id }),
    onStart: () => say(parts, ""),
    onError: (text) => say(parts, text),
  });
  const parts = { surface, body, error, foot, form };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit(view.id);
  });
  known.set(view.id, parts);
  return parts;
}

function buttons(view, parts) {
  const busy = parts.form.getAttribute("aria-busy") === "true";
  const close = h(
    "button",
    { type: "button", class: "button", data: { fk: "view\u001fclose" }, onclick: () => leave() },
    view.close ? textObject(view.close) : view.submit ? "Cancel" : "Close",
  );
  if (!view.submit) return [close];
  const submitButton = h(
    "button",
    { type: "submit", class: "button primary", data: { fk: "view\u001fsubmit" }, "aria-busy": String(busy) },
    h("span", { class: "button-text" }, textObject(view.submit)),
  );
  if (view.submit_disabled) submitButton.disabled = true;
  return [close, submitButton];
}

function focusFirst(parts, view) {
  const wanted = (view.blocks ?? []).find((block) => (block.element ?? block.accessory)?.focus_on_load);
  const place = wanted
    ? parts.body.querySelector(`[data-block-id="${CSS.escape(wanted.block_id ?? "")}"]`)
    : parts.body;
  // Never a button: whoever still has the finger on Enter must read before anything runs.
  (place?.querySelector("input:not([type=checkbox]):not([type=radio]), textarea, .picker") ?? parts.body).focus({
    preventScroll: true,
  });
  parts.body.scrollTop = 0;
}

function say(parts, text) {
  parts.error.textContent = text;
  parts.error.hidden = !text;
}

function showErrors(parts, errors) {
  const left = { ...errors };
  for (const block of parts.body.querySelectorAll("[data-input-block]")) {
    const text = left[block.dataset.inputBlock];
    delete left[block.dataset.inputBlock];
    const place = block.querySelector(".field-error");
    place.textContent = text ?? "";
    place.hidden = !text;
    block.classList.toggle("has-error", Boolean(text));
    block.querySelector("[data-action-id]")?.setAttribute("aria-invalid", String(Boolean(text)));
  }
  say(parts, Object.values(left).join(" "));
  const first = parts.body.querySelector(".has-error [data-action-id]");
  (first?.matches(".choices") ? first.querySelector("input") : first)?.focus();
}

async function submit(viewId) {
  const view = state.views.find((one) => one.id === viewId);
  const parts = known.get(viewId);
  if (!view?.submit || parts.form.getAttribute("aria-busy") === "true") return;
  const local = problems(view.blocks, parts.surface.values);
  showErrors(parts, local);
  if (Object.keys(local).length) return;
  setBusy(parts, true);
  try {
    settle(
      viewId,
      parts,
      await post("/client/view/submit", {
        user: state.me,
        view_id: viewId,
        state: { values: parts.surface.values.snapshot() },
      }),
    );
  } catch (error) {
    say(parts, error.message);
  } finally {
    setBusy(parts, false);
  }
}

function settle(viewId, parts, answer) {
  if (answer.errors && Object.keys(answer.errors).length) return showErrors(parts, answer.errors);
  if (answer.ok === false)
    return say(parts, answer.error && !/timeout|timed_out/.test(answer.error) ? sentence(answer.error) : TROUBLE());
  if (answer.view) return showView(answer.view);
  if (answer.cleared) return closeView(viewId, { all: true });
  if (answer.closed) closeView(viewId);
}

function setBusy(parts, on) {
  parts.form.setAttribute("aria-busy", String(on));
  parts.foot.querySelector("[type=submit]")?.setAttribute("aria-busy", String(on));
}

/** Close the top view, back to the one under it; `clear` closes the whole stack. */
function leave({ clear = false } = {}) {
  const view = state.views.at(-1);
  if (!view) return;
  closeView(view.id, { all: clear });
  // When it is gone on the server already there is nothing left to tell.
  must("/client/view/close", { user: state.me, view_id: view.id, clear }).catch(() => {});
}

/** Escape and a click beside it go one view back. The dialog itself is shut by the next drawing. */
function dismissed() {
  leave();
  return false;
}
