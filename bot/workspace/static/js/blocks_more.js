// Block types without children of their own: alerts, tasks, plans, videos, files.
import { h, link, safeUrl } from "./dom.js";
import { image } from "./elements.js";
import { icon } from "./icons.js";
import { textObject } from "./mrkdwn.js";
import { richText } from "./richtext.js";

export function alert(block) {
  const [word, sign] = LEVELS[block.level] ?? LEVELS.default;
  return h(
    "div",
    { class: `alert alert-${LEVELS[block.level] ? block.level : "default"}`, role: "note" },
    icon(sign),
    h("div", {}, h("span", { class: "visually-hidden" }, `${word}: `), textObject(block.text)),
  );
}

const LEVELS = {
  default: ["Note", "info"],
  info: ["Note", "info"],
  warning: ["Warning", "warn"],
  error: ["Error", "warn"],
  success: ["Done", "check"],
};

export function task(block) {
  return h(
    "div",
    { class: `task task-${block.status}` },
    h(
      "span",
      { class: "task-mark", role: "img", "aria-label": STATUS[block.status] ?? block.status },
      block.status === "complete" ? icon("check") : block.status === "error" ? icon("close") : null,
    ),
    h(
      "div",
      {},
      h("div", {}, block.title),
      block.details ? h("div", { class: "muted" }, richText(block.details)) : null,
      block.output ? h("div", { class: "muted" }, richText(block.output)) : null,
    ),
  );
}

const STATUS = { pending: "To do", in_progress: "In progress", complete: "Done", error: "Failed" };

export const plan = (block) => h("div", { class: "plan" }, h("strong", {}, block.title), (block.tasks ?? []).map(task));

export function video(block) {
  const picture = block.thumbnail_url
    ? image({ image_url: block.thumbnail_url, alt_text: block.alt_text }, "video-thumb")
    : null;
  const name = h("span", {}, icon("play"), textObject(block.title));
  return h(
    "div",
    { class: "video" },
    picture,
    safeUrl(block.title_url ?? block.video_url) ? link(block.title_url ?? block.video_url, name) : name,
    block.description ? h("div", { class: "muted" }, textObject(block.description)) : null,
  );
}

export const file = (block) =>
  h("div", { class: "file-row" }, icon("file"), h("span", {}, block.external_id ?? "File"));
