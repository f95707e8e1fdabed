// What people typed and chose on one surface (a message, a modal, the Home tab), in the shape of Slack's state.values.
// It lives beside the DOM, so that a redraw loses nothing.
import { richTextOf, richTextWords } from "./richtext.js";

const option = (el) => el.initial_option ?? null;
const options = (el) => el.initial_options ?? [];

/** For each stateful element: the field of its state, and its value before anybody touched it. */
export const STATEFUL = {
  plain_text_input: ["value", (el) => el.initial_value ?? null],
  number_input: ["value", (el) => el.initial_value ?? null],
  email_text_input: ["value", (el) => el.initial_value ?? null],
  url_text_input: ["value", (el) => el.initial_value ?? null],
  rich_text_input: ["rich_text_value", (el) => el.initial_value ?? null],
  static_select: ["selected_option", option],
  external_select: ["selected_option", option],
  multi_static_select: ["selected_options", options],
  multi_external_select: ["selected_options", options],
  users_select: ["selected_user", (el) => el.initial_user ?? null],
  multi_users_select: ["selected_users", (el) => el.initial_users ?? []],
  conversations_select: [
    "selected_conversation",
    (el, here) => el.initial_conversation ?? (el.default_to_current_conversation ? here : null),
  ],
  multi_conversations_select: [
    "selected_conversations",
    (el, here) => el.initial_conversations ?? (el.default_to_current_conversation && here ? [here] : []),
  ],
  channels_select: ["selected_channel", (el) => el.initial_channel ?? null],
  multi_channels_select: ["selected_channels", (el) => el.initial_channels ?? []],
  datepicker: ["selected_date", (el) => el.initial_date ?? null],
  timepicker: ["selected_time", (el) => el.initial_time ?? null],
  datetimepicker: ["selected_date_time", (el) => el.initial_date_time ?? null],
  checkboxes: ["selected_options", options],
  radio_buttons: ["selected_option", option],
};

/** Every [block_id, element] of the blocks, also inside containers and cards. */
export function elementsOf(blocks) {
  return (blocks ?? []).flatMap((block) => {
    const own = [
      block.accessory,
      block.element,
      ...(block.actions ?? []),
      ...(block.type === "carousel" ? [] : (block.elements ?? [])),
    ];
    const inner = [...(block.child_blocks ?? []), ...(block.type === "carousel" ? (block.elements ?? []) : [])];
    return [...own.filter((el) => el?.action_id).map((el) => [block.block_id, el]), ...elementsOf(inner)];
  });
}

export class Values {
  #entries = new Map();

  /** Take over new elements with their initial values; keep the values of those that stay; forget the rest. */
  sync(blocks, here = null) {
    const next = new Map();
    for (const [blockId, el] of elementsOf(blocks)) {
      const spec = STATEFUL[el.type];
      if (!spec) continue;
      const key = `${blockId}\u001f${el.action_id}`;
      const old = this.#entries.get(key);
      next.set(
        key,
        old?.type === el.type
          ? old
          : { blockId, actionId: el.action_id, type: el.type, field: spec[0], value: spec[1](el, here) },
      );
    }
    this.#entries = next;
  }

  get(blockId, el) {
    return this.#entries.get(`${blockId}\u001f${el.action_id}`)?.value ?? null;
  }

  set(blockId, el, value) {
    const [field] = STATEFUL[el.type];
    this.#entries.set(`${blockId}\u001f${el.action_id}`, {
      blockId,
      actionId: el.action_id,
      type: el.type,
      field,
      value,
    });
  }

  /** {block_id: {action_id: {type, value | selected_option | …}}} */
  snapshot() {
    const out = {};
    for (const { blockId, actionId, type, field, value } of this.#entries.values()) {
      (out[blockId] ??= {})[actionId] = { type, [field]: value };
    }
    return out;
  }

  text(blockId, el) {
    const value = this.get(blockId, el);
    return el.type === "rich_text_input" ? richTextWords(value) : (value ?? "");
  }

  setText(blockId, el, text) {
    this.set(blockId, el, text === "" ? null : el.type === "rich_text_input" ? richTextOf(text) : text);
  }
}

const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@]+$/;

/** What Slack's client itself refuses before it sends a view: {block_id: sentence}. */
export function problems(blocks, values) {
  const out = {};
  for (const block of inputBlocks(blocks)) {
    const el = block.element;
    const value = values.get(block.block_id, el);
    const empty = value === null || value === "" || (Array.isArray(value) && value.length === 0);
    const problem = empty ? !block.optional && "Please complete this field." : check(el, value);
    if (problem) out[block.block_id] = problem;
  }
  return out;
}

const inputBlocks = (blocks) =>
  (blocks ?? []).flatMap((block) => (block.type === "input" ? [block] : inputBlocks(block.child_blocks)));

function check(el, value) {
  if (el.type === "number_input") return checkNumber(el, value);
  if (el.type === "email_text_input")
    return EMAIL.test(value) ? null : "Enter an e-mail address, such as name@example.com.";
  if (el.type === "url_text_input")
    return URL.canParse(value) ? null : "Enter a full address, such as https://example.com.";
  const length = typeof value === "string" ? value.length : 0;
  if (el.type === "plain_text_input" && el.min_length && length < el.min_length)
    return `Enter at least ${el.min_length} characters.`;
  if (el.type === "plain_text_input" && el.max_length && length > el.max_length)
    return `Enter at most ${el.max_length} characters.`;
  return null;
}

function checkNumber(el, value) {
  const number = Number(value);
  if (!Number.isFinite(number) || String(value).trim() === "") return "Enter a number.";
  if (!el.is_decimal_allowed && !Number.isInteger(number)) return "Enter a whole number.";
  if (el.min_value !== undefined && number < Number(el.min_value)) return `Enter ${el.min_value} or more.`;
  if (el.max_value !== undefined && number > Number(el.max_value)) return `Enter ${el.max_value} or less.`;
  return null;
}
