// The interface's own line icons, 20 by 20, drawn with the colour of the text.
import { s } from "./dom.js";

const PATHS = {
  hash: "M7.5 3 6 17M14 3l-1.5 14M3.5 7.5h14M2.5 12.5h14",
  lock: "M5 9h10v8H5zM7 9V6.5a3 3 0 0 1 6 0V9",
  plus: "M10 4v12M4 10h12",
  send: "M3 10 17 3.5 13 17l-3.5-5zM9.5 12 17 3.5",
  close: "M5 5l10 10M15 5 5 15",
  back: "M12 4l-6 6 6 6",
  forward: "M8 4l6 6-6 6",
  down: "M5 7.5l5 5 5-5",
  smile: "M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15zM7 12c1.6 2 4.4 2 6 0M7.5 8v.2M12.5 8v.2",
  reply: "M3.5 4.5h13v9H9l-3.5 3v-3h-2z",
  pin: "M12.5 2.5l5 5-3 .8-3 3-.5 3.7-5.5-5.5 3.7-.5 3-3zM7.5 12.5l-5 5",
  more: "M4.5 10h.1M10 10h.1M15.5 10h.1",
  bolt: "M11 2.5 4.5 11H9l-.5 6.5L15 9h-4.5z",
  home: "M3 9.5 10 3.5l7 6V17h-5v-4.5H8V17H3z",
  people: "M7.5 9.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM2 16.5c0-6.5 11-6.5 11 0M13.5 9.2a2.7 2.7 0 0 0 0-5.2M15 12c2 .5 3 2 3 4.5",
  theme: "M10 3v14a7 7 0 0 0 0-14zM10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15z",
  at: "M13 10a3 3 0 1 1-6 0 3 3 0 0 1 6 0zm0-3v4.5c0 2.5 4 2 4-1.5a7 7 0 1 0-3 5.7",
  slash: "M12.5 3l-5 14",
  search: "M9 15A6 6 0 1 0 9 3a6 6 0 0 0 0 12zM13.5 13.5 17.5 17.5",
  check: "M4 10.5 8 14.5 16 5.5",
  link: "M8 12l4-4M9 6l2-2a3.5 3.5 0 0 1 5 5l-2 2M11 14l-2 2a3.5 3.5 0 0 1-5-5l2-2",
  warn: "M10 3 18 17H2zM10 8v4M10 14.5v.2",
  info: "M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15zM10 9v5M10 6.3v.2",
  eye: "M2 10c3.5-6.5 12.5-6.5 16 0-3.5 6.5-12.5 6.5-16 0zM10 12.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4z",
  file: "M5 2.5h7l3.5 3.5v11.5H5zM12 2.5V6h3.5",
  play: "M6 4l10 6-10 6z",
  trash: "M4 6h12M8 6V4h4v2M5.5 6l.7 11h7.6l.7-11",
  up: "M7 17V9.5L10.5 3c2 0 2 2 1.5 5h4.5L15 17zM3 9.5h2V17H3z",
  thumbdown: "M13 3v7.5L9.5 17c-2 0-2-2-1.5-5H3.5L5 3zM17 10.5h-2V3h2z",
  calendar: "M3.5 5h13v12h-13zM3.5 8.5h13M7 3v3M13 3v3",
  bookmark: "M5.5 3h9v14L10 13.5 5.5 17z",
  sort: "M6 8l4-4 4 4M6 12l4 4 4-4",
};

export function icon(name, className = "") {
  return s(
    "svg",
    { class: `icon ${className}`, viewBox: "0 0 20 20", "aria-hidden": "true", focusable: "false" },
    s("path", { d: PATHS[name] ?? PATHS.info }),
  );
}
