// Interactive elements. Each renderer gets the element and where it stands, and returns one node.
import { fragment, h, safeUrl } from "./dom.js";
import { busyKey } from "./surface.js";
import { select } from "./choices.js";
import { confirmDialog } from "./dialog.js";
import { textObject } from "./mrkdwn.js";
import { icon } from "./icons.js";
import { menu } from "./popover.js";
import { lookup, state } from "./store.js";
import { fromLocalField, toLocalField } from "./time.js";

const words = (object) => textObject(object).textContent;

/**
 * Render one element of `blockId` on `surface`.
 * `field` {id, labelledby, describedby, silent} is given by an input block: `silent` elements are not sent at once.
 */
export function element(el, surface, blockId, field = null) {
  if (hiddenFrom(el)) return fragment();
  const make = ELEMENTS[el.type];
  if (!make) return h("span", { class: "unknown" }, `This element is not shown here: ${el.type}`);
  const focusKey = `${blockId}\u001f${el.action_id}\u001f${el.value ?? ""}`;
  const attrs = {
    id: field?.id,
    "aria-labelledby": field?.labelledby,
    "aria-describedby": field?.describedby,
    data: { fk: focusKey, blockId, actionId: el.action_id ?? "" },
  };
  const act = async (fields, node, url = "") => {
    if (field?.silent) return;
    if (el.confirm && !(await confirmDialog(confirmWords(el.confirm)))) return;
    if (safeUrl(url)) open(safeUrl(url), "_blank", "noopener");
    await surface.act(blockId, el, fields, node);
  };
  return make(el, {
    surface,
    blockId,
    attrs,
    act,
    field,
    label: field?.label ?? (el.placeholder ? words(el.placeholder) : "Choose"),
  });
}

/** Who may see an element is a courtesy of the app, not a permission; it is checked again on the click. */
const hiddenFrom = (el) => Array.isArray(el.visible_to_user_ids) && !el.visible_to_user_ids.includes(state.me);

function confirmWords(object) {
  return {
    title: words(object.title) || undefined,
    text: object.text,
    render: textObject,
    confirm: words(object.confirm),
    deny: words(object.deny),
    style: object.style === "danger" ? "danger" : "primary",
  };
}

function button(el, { attrs, act, surface, blockId }) {
  const key = busyKey(surface, blockId, el);
  const node = h(
    "button",
    {
      ...attrs,
      type: "button",
      class: `button ${el.style ?? ""}`,
      "aria-label": el.accessibility_label ?? null,
      data: { ...attrs.data, busyKey: key },
      onclick: () => {
        if (node.getAttribute("aria-busy") === "true") return;
        act({ text: el.text, value: el.value }, node, el.url);
      },
    },
    h("span", { class: "button-text" }, textObject(el.text)),
    safeUrl(el.url) ? icon("out", "button-out") : null,
  );
  if (surface.isBusy(key)) node.setAttribute("aria-busy", "true");
  return node;
}

function overflow(el, { attrs, act }) {
  const node = h(
    "button",
    {
      ...attrs,
      type: "button",
      class: "button icon-only",
      "aria-haspopup": "menu",
      "aria-expanded": "false",
      "aria-label": "More",
      onclick: () =>
        menu(
          node,
          "More",
          el.options.map((option) => ({
            label: words(option.text),
            hint: option.description ? words(option.description) : "",
            run: () => act({ selected_option: option }, node, option.url),
          })),
        ),
    },
    icon("more"),
  );
  return node;
}

function choices(el, { surface, blockId, attrs, act, field }) {
  const many = el.type === "checkboxes";
  const held = surface.values.get(blockId, el);
  const isOn = (option) =>
    many ? (held ?? []).some((one) => one.value === option.value) : held?.value === option.value;
  const name = `${surface.id}-${blockId}-${el.action_id}`;
  const rows = el.options.map((option, i) => {
    const input = h("input", {
      type: many ? "checkbox" : "radio",
      name,
      value: option.value,
      checked: isOn(option),
      data: { fk: `${attrs.data.fk}${i}` },
    });
    return h(
      "label",
      { class: "choice" },
      input,
      h(
        "span",
        {},
        textObject(option.text),
        option.description ? h("small", {}, textObject(option.description)) : null,
      ),
    );
  });
  const group = h(
    "div",
    { ...attrs, class: "choices", role: many ? "group" : "radiogroup", "aria-label": field ? null : "Options" },
    rows,
  );
  group.addEventListener("change", () => {
    const on = el.options.filter((_, i) => rows[i].querySelector("input").checked);
    const value = many ? on : (on[0] ?? null);
    surface.values.set(blockId, el, value);
    act({ [many ? "selected_options" : "selected_option"]: value }, group);
  });
  return group;
}

const NATIVE = {
  datepicker: { type: "date", field: "selected_date", read: (text) => text || null, show: (value) => value ?? "" },
  timepicker: { type: "time", field: "selected_time", read: (text) => text || null, show: (value) => value ?? "" },
  datetimepicker: {
    type: "datetime-local",
    field: "selected_date_time",
    read: fromLocalField,
    show: (value) => (value ? toLocalField(value) : ""),
  },
};

function when(el, { surface, blockId, attrs, act, label, field }) {
  const kind = NATIVE[el.type];
  const input = h("input", {
    ...attrs,
    type: kind.type,
    class: "input input-when",
    "aria-label": field ? null : label,
    value: kind.show(surface.values.get(blockId, el)),
  });
  input.addEventListener("change", () => {
    const value = kind.read(input.value);
    if (value === surface.values.get(blockId, el)) return;
    surface.values.set(blockId, el, value);
    act({ [kind.field]: value }, input);
  });
  if (el.type !== "timepicker" || !el.timezone) return input;
  return h("span", { class: "with-zone" }, input, h("small", {}, el.timezone));
}

const TYPES = {
  email_text_input: ["email", "email"],
  url_text_input: ["url", "url"],
  number_input: ["text", "decimal"],
};

function textInput(el, { surface, blockId, attrs, act, field }) {
  const long = el.multiline || el.type === "rich_text_input";
  const [type, inputmode] = TYPES[el.type] ?? ["text", null];
  const node = h(long ? "textarea" : "input", {
    ...attrs,
    class: "input",
    type: long ? null : type,
    inputmode,
    placeholder: el.placeholder?.text ?? null,
    maxlength: el.max_length ?? null,
    rows: long ? Math.max(3, el.min_lines ?? 4) : null,
    autocomplete: "off",
    value: surface.values.text(blockId, el),
    "aria-required": field?.required ? "true" : null,
  });
  const triggers = el.dispatch_action_config?.trigger_actions_on ?? ["on_enter_pressed"];
  const send = () =>
    act(
      el.type === "rich_text_input"
        ? { rich_text_value: surface.values.get(blockId, el) }
        : { value: surface.values.get(blockId, el) },
      node,
    );
  node.addEventListener("input", () => {
    surface.values.setText(blockId, el, node.value);
    if (triggers.includes("on_character_entered")) send();
  });
  node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !long && !event.isComposing && triggers.includes("on_enter_pressed")) send();
  });
  return node;
}

function feedback(el, { attrs, act }) {
  const one = (spec, sign, other) =>
    h(
      "button",
      {
        ...attrs,
        type: "button",
        class: "button icon-only",
        "aria-label": spec.accessibility_label ?? words(spec.text),
        title: words(spec.text),
        onclick: (event) => act({ value: spec.value, text: spec.text }, event.currentTarget),
      },
      icon(sign),
      other,
    );
  return h("span", { class: "feedback" }, one(el.positive_button, "up"), one(el.negative_button, "thumbdown"));
}

function iconButton(el, { attrs, act }) {
  return h(
    "button",
    {
      ...attrs,
      type: "button",
      class: "button icon-only",
      "aria-label": el.accessibility_label ?? words(el.text),
      title: words(el.text),
      onclick: (event) => act({ value: el.value }, event.currentTarget),
    },
    icon(el.icon ?? "trash"),
  );
}

/** A picture; when it cannot be fetched its description stands in its place. */
export function image(el, className = "") {
  const src = safeUrl(el.image_url ?? el.slack_file?.url ?? (el.slack_file?.id ? fileUrl(el.slack_file.id) : ""), [
    "http:",
    "https:",
    "data:",
  ]);
  const missing = () => h("span", { class: `image-missing ${className}` }, el.alt_text || "Image");
  if (!src) return missing();
  const node = h("img", {
    class: className,
    src,
    alt: el.alt_text ?? "",
    loading: "lazy",
    referrerpolicy: "no-referrer",
  });
  node.addEventListener("error", () => node.replaceWith(missing()), { once: true });
  return node;
}

export const fileUrl = (id) => new URL(`/files-pri/${encodeURIComponent(id)}/file`, location.href).href;

const SELECTS = ["static", "external", "users", "conversations", "channels"].flatMap((kind) => [
  `${kind}_select`,
  `multi_${kind}_select`,
]);

const ELEMENTS = {
  button,
  overflow,
  workflow_button: button,
  feedback_buttons: feedback,
  icon_button: iconButton,
  checkboxes: choices,
  radio_buttons: choices,
  datepicker: when,
  timepicker: when,
  datetimepicker: when,
  plain_text_input: textInput,
  number_input: textInput,
  email_text_input: textInput,
  url_text_input: textInput,
  rich_text_input: textInput,
  image: (el) => image(el, "thumb"),
  ...Object.fromEntries(SELECTS.map((type) => [type, select])),
};

/** The name the app goes by in sentences. */
export const appName = () => lookup.name(lookup.user(state.app?.bot_user_id)) || state.app?.name || "The app";
