// The window's own dialogs: confirmations, and small forms such as "new channel".
import { h } from "./dom.js";
import { layer, rememberFocus, trapFocus } from "./a11y.js";
import { icon } from "./icons.js";

let serial = 0;

/**
 * Open a modal dialog. `build(close)` returns its content; `onDismiss` is called when the person closes it by Escape,
 * the cross or a click beside it, and keeps it open by returning false; `onCross` takes the cross over.
 */
export function openDialog({ title, className = "", build, onDismiss, onCross, onBack }) {
  serial += 1;
  const titleId = `dialog-title-${serial}`;
  const giveBack = rememberFocus();
  const dismiss = () => {
    if (onDismiss?.() === false) return;
    close();
  };
  const heading = h("h2", { id: titleId }, title);
  const back = h(
    "button",
    {
      type: "button",
      class: "icon-button dialog-back",
      "aria-label": "Back",
      hidden: !onBack,
      onclick: () => onBack?.(),
    },
    icon("back"),
  );
  const head = h(
    "header",
    { class: "dialog-head" },
    back,
    heading,
    h(
      "button",
      { type: "button", class: "icon-button", "aria-label": "Close", onclick: onCross ?? dismiss },
      icon("close"),
    ),
  );
  const node = h(
    "dialog",
    { class: `dialog ${className}`, "aria-labelledby": titleId, "aria-modal": "true" },
    head,
    h("div", { class: "toasts", role: "status" }),
  );
  const offLayer = layer(dismiss);
  node.addEventListener("cancel", (event) => event.preventDefault());
  node.addEventListener("close", () => node.isConnected && dismiss()); // Some browsers close on a second Escape unasked.
  node.addEventListener("pointerdown", (event) => {
    node.dataset.pressedBeside = String(event.target === node);
  });
  node.addEventListener("click", (event) => {
    if (event.target === node && node.dataset.pressedBeside === "true") dismiss();
  });
  trapFocus(node);

  function close() {
    if (!node.isConnected) return;
    offLayer();
    node.close();
    node.remove();
    giveBack();
  }

  head.after(build(close));
  document.body.append(node);
  node.showModal();
  return { node, heading, back, close };
}

/** Ask Slack's confirm object. Resolves to true or false. */
export function confirmDialog({ title, text, confirm, deny, style, render }) {
  return new Promise((resolve) => {
    const { close, node } = openDialog({
      title: title ?? "Are you sure?",
      className: "dialog-small",
      onDismiss: () => resolve(false),
      build: () => {
        const answer = (value) => () => {
          close();
          resolve(value);
        };
        return h(
          "div",
          { class: "dialog-body" },
          h("div", { class: "confirm-text" }, render ? render(text) : text),
          h(
            "footer",
            { class: "dialog-foot" },
            h("button", { type: "button", class: "button", onclick: answer(false) }, deny || "Cancel"),
            h(
              "button",
              {
                type: "button",
                class: `button ${style === "danger" ? "danger" : "primary"}`,
                data: { confirm: "yes" },
                onclick: answer(true),
              },
              confirm || "Confirm",
            ),
          ),
        );
      },
    });
    // A dangerous question starts on "no".
    node.querySelector(style === "danger" ? ".dialog-foot .button" : "[data-confirm]").focus();
  });
}
