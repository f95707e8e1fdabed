// Legacy attachments: what monitors still send, with a bar in their colour.
import { renderBlock } from "./blocks.js";
import { fragment, h, link } from "./dom.js";
import { textObject } from "./mrkdwn.js";

const COLOURS = { good: "#2f9e5f", warning: "#d9a514", danger: "#d64545" };

/** Legacy attachments: a colour bar beside text, fields or blocks. */
export function attachments(items, surface) {
  return (items ?? []).map((item, i) => {
    const bar = h("div", { class: "attachment-bar", "aria-hidden": "true" });
    const colour = COLOURS[item.color] ?? item.color;
    if (/^#?[0-9a-f]{6}$/i.test(colour ?? "")) bar.style.background = `#${colour.replace("#", "")}`;
    const title = item.title
      ? h("div", { class: "attachment-title" }, item.title_link ? link(item.title_link, item.title) : item.title)
      : null;
    const fields = item.fields?.length
      ? h(
          "div",
          { class: "fields" },
          item.fields.map((field) =>
            h(
              "div",
              { class: "field" },
              h("strong", {}, field.title),
              h("br"),
              textObject({ type: "mrkdwn", text: field.value }),
            ),
          ),
        )
      : null;
    const body = item.blocks?.length
      ? item.blocks.map((block, n) => renderBlock({ block_id: `attachment-${i}-${n}`, ...block }, surface))
      : h("div", { class: "text" }, textObject({ type: "mrkdwn", text: item.text ?? item.fallback ?? "" }));
    return h(
      "div",
      { class: "attachment" },
      bar,
      h(
        "div",
        { class: "attachment-body" },
        item.pretext ? fragment(textObject({ type: "mrkdwn", text: item.pretext })) : null,
        title,
        body,
        fields,
        item.footer ? h("div", { class: "muted" }, item.footer) : null,
      ),
    );
  });
}
