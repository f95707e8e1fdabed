// Block Kit: one renderer per block type, and the reconciler that redraws only the blocks that changed.
import { h, keepingFocus, reconcile } from "./dom.js";
import { alert, file, plan, task, video } from "./blocks_more.js";
import { chart } from "./charts.js";
import { element, image } from "./elements.js";
import { icon } from "./icons.js";
import { markdown } from "./markdown.js";
import { textObject } from "./mrkdwn.js";
import { richText } from "./richtext.js";
import { dataTable, table } from "./tables.js";
import { elementsOf } from "./values.js";

/** Show `blocks` in `parent`. Blocks that did not change keep their nodes, and with them focus and typed text. */
export function showBlocks(parent, blocks, surface) {
  surface.sync(blocks);
  keepingFocus(parent, () =>
    reconcile(parent, blocks ?? [], {
      key: (block, i) => (acts(block) ? (block.block_id ?? `#${i}`) : `#${i} ${block.type}`),
      sig: (block) => JSON.stringify(acts(block) ? block : { ...block, block_id: "" }),
      create: (block) => renderBlock(block, surface),
    }),
  );
}

/** Blocks nobody can act on are the same whatever their id, which the server draws anew at each update. */
const acts = (block) => elementsOf([block]).length > 0 || ["container", "data_table", "image"].includes(block.type);

export function renderBlock(block, surface) {
  const make = BLOCKS[block.type];
  const node = make ? make(block, surface) : unknown(block);
  return h(
    "div",
    {
      class: `block block-${make ? block.type.replaceAll("_", "-") : "unknown"}`,
      data: { blockId: block.block_id ?? "" },
    },
    node,
  );
}

const unknown = (block) => h("p", { class: "unknown" }, `This block type is not shown here: ${block.type}`);

function section(block, surface) {
  const text = block.text ? h("div", { class: "text" }, textObject(block.text)) : null;
  const fields = block.fields
    ? h(
        "div",
        { class: "fields" },
        block.fields.map((field) => h("div", { class: "field" }, textObject(field))),
      )
    : null;
  const accessory = block.accessory
    ? h(
        "div",
        { class: `accessory accessory-${block.accessory.type}` },
        element(block.accessory, surface, block.block_id),
      )
    : null;
  return h("div", { class: "section" }, h("div", { class: "section-main" }, text, fields), accessory);
}

function context(block) {
  return h(
    "div",
    { class: "context" },
    block.elements.map((el) =>
      el.type === "image" ? image(el, "context-image") : h("span", { class: "context-text" }, textObject(el)),
    ),
  );
}

const actions = (block, surface) =>
  h(
    "div",
    { class: "actions" },
    block.elements.map((el) => element(el, surface, block.block_id)),
  );

function picture(block, surface) {
  const state = surface.remember(block.block_id ?? block.image_url, { folded: false });
  const figure = h(
    "details",
    { class: "picture", open: !state.folded },
    h("summary", {}, block.title ? textObject(block.title) : h("span", { class: "muted" }, "Image")),
    image(block, "picture-image"),
  );
  figure.addEventListener("toggle", () => {
    state.folded = !figure.open;
  });
  return figure;
}

let serial = 0;

function input(block, surface) {
  serial += 1;
  const id = `field-${serial}`;
  const el = block.element;
  const field = {
    id,
    labelledby: `${id}-label`,
    describedby: `${id}-hint ${id}-error`,
    label: textObject(block.label).textContent,
    silent: !block.dispatch_action,
    required: !block.optional,
  };
  const group = ["checkboxes", "radio_buttons"].includes(el.type);
  return h(
    "div",
    { class: "field-block", data: { inputBlock: block.block_id ?? "" } },
    h(
      group ? "div" : "label",
      { class: "label", id: `${id}-label`, for: group ? null : id },
      textObject(block.label),
      block.optional ? h("span", { class: "optional" }, " (optional)") : null,
    ),
    element(el, surface, block.block_id, field),
    h("p", { class: "field-error", id: `${id}-error`, role: "alert", hidden: true }),
    block.hint ? h("p", { class: "hint", id: `${id}-hint` }, textObject(block.hint)) : null,
  );
}

function card(block, surface) {
  return h(
    "article",
    { class: "card" },
    block.hero_image ? image(block.hero_image, "card-hero") : null,
    h(
      "div",
      { class: "card-head" },
      block.icon ? image(block.icon, "card-icon") : null,
      h(
        "div",
        {},
        block.title ? h("div", { class: "card-title" }, textObject(block.title)) : null,
        block.subtitle ? h("div", { class: "card-subtitle" }, textObject(block.subtitle)) : null,
      ),
    ),
    block.body ? h("div", { class: "text" }, textObject(block.body)) : null,
    block.subtext ? h("div", { class: "card-subtitle" }, textObject(block.subtext)) : null,
    block.actions
      ? h(
          "div",
          { class: "actions" },
          block.actions.map((el) => element(el, surface, block.block_id)),
        )
      : null,
  );
}

function carousel(block, surface) {
  return h(
    "div",
    { class: "carousel", role: "list", tabindex: 0, "aria-label": "Cards" },
    block.elements.map((one) =>
      h(
        "div",
        { role: "listitem", class: "carousel-item" },
        card({ ...one, block_id: one.block_id ?? block.block_id }, surface),
      ),
    ),
  );
}

function container(block, surface) {
  const title = h(
    "span",
    { class: "container-title" },
    block.icon ? image(block.icon, "card-icon") : null,
    h(
      "span",
      {},
      block.rich_text_title ? richText(block.rich_text_title) : textObject(block.title),
      block.subtitle ? h("small", {}, textObject(block.subtitle)) : null,
    ),
  );
  const body = h(
    "div",
    { class: "container-body" },
    block.child_blocks.map((child) => renderBlock(child, surface)),
  );
  const look = `container container-${["narrow", "wide", "full"].includes(block.width) ? block.width : "standard"}`;
  if (!block.is_collapsible)
    return h(
      "section",
      { class: `${look}${block.has_header_divider ? " container-ruled" : ""}` },
      h("div", { class: "container-head" }, title),
      body,
    );
  const state = surface.remember(block.block_id ?? title.textContent, { folded: Boolean(block.default_collapsed) });
  const node = h(
    "details",
    { class: look, open: !state.folded },
    h("summary", { class: "container-head" }, title, icon("down", "container-arrow")),
    body,
  );
  node.addEventListener("toggle", () => {
    state.folded = !node.open;
  });
  return node;
}

const BLOCKS = {
  section,
  context,
  actions,
  input,
  alert,
  card,
  carousel,
  container,
  video,
  file,
  plan,
  table,
  divider: () => h("hr"),
  header: (block) =>
    h(
      "div",
      { class: "header", role: "heading", "aria-level": Math.min(6, Number(block.level) || 3) },
      textObject(block.text),
    ),
  image: picture,
  rich_text: (block) => h("div", { class: "text" }, richText(block)),
  markdown: (block) => h("div", { class: "text markdown" }, markdown(block.text)),
  data_table: dataTable,
  data_visualization: chart,
  context_actions: (block, surface) =>
    h(
      "div",
      { class: "actions context-actions" },
      block.elements.map((el) => element(el, surface, block.block_id)),
    ),
  task_card: task,
};
