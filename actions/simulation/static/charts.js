// Line charts of time series as inline SVG: one limit, up to two lines, the newest value in words.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 120;
const SPAN = 600;

function shape(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

export function said(value, unit) {
  if (value === undefined || value === null) return "no data";
  if (unit === "s") return value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(2)} s`;
  if (unit === "ratio") return `${(value * 100).toFixed(value > 0 && value < 0.01 ? 2 : 1)} %`;
  if (unit === "usd/h") return `${Math.round(value).toLocaleString("en")} USD/h`;
  if (unit === "1/s") return `${value.toFixed(1)} /s`;
  if (unit === "score") return value.toFixed(2);
  return String(Math.round(value));
}

function range(chart) {
  const values = chart.lines.flatMap((line) => line.points.map((point) => point[1]));
  if (chart.limit !== null) values.push(chart.limit * 1.15);
  const high = Math.max(...values, 1e-6);
  return chart.unit === "score" ? [Math.min(...values, 0.6), 1] : [0, high * 1.06];
}

// One path per unbroken stretch: a gap in the samples stays a gap.
function paths(points, x, y) {
  const stretches = [];
  let last = null;
  for (const [at, value] of points) {
    if (last === null || at - last > 30) stretches.push([]);
    stretches.at(-1).push([x(at), y(value)]);
    last = at;
  }
  return stretches;
}

function worst(chart) {
  const newest = chart.lines.map((line) => line.points.at(-1)?.[1]).filter((value) => value !== undefined);
  if (!newest.length) return undefined;
  return chart.worse === "below" ? Math.min(...newest) : Math.max(...newest);
}

export function beyond(chart) {
  const value = worst(chart);
  return chart.limit !== null && value !== undefined && (chart.worse === "below" ? value < chart.limit : value > chart.limit);
}

// With a limit the line nearest to it counts; without one every line does.
function headline(chart) {
  if (chart.limit !== null) return said(worst(chart), chart.unit);
  return chart.lines.map((line) => said(line.points.at(-1)?.[1], chart.unit)).join(" and ");
}

function drawing(chart, now) {
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const [low, high] = range(chart);
  const x = (at) => (((at - now) / SPAN + 1) * WIDTH).toFixed(1);
  const y = (value) => (HEIGHT - ((value - low) / (high - low)) * HEIGHT).toFixed(1);
  for (const part of [0, 0.5, 1]) {
    svg.append(shape("line", { class: "rule", x1: 0, x2: WIDTH, y1: part * HEIGHT, y2: part * HEIGHT }));
  }
  chart.lines.forEach((line, index) => {
    for (const stretch of paths(line.points, x, y)) {
      const path = stretch.map(([left, top]) => `${left} ${top}`).join("L");
      svg.append(shape("path", { class: `area l${index}`, d: `M${stretch[0][0]} ${HEIGHT}L${path}L${stretch.at(-1)[0]} ${HEIGHT}Z` }));
      svg.append(shape("path", { class: `line l${index}`, d: `M${path}` }));
    }
  });
  if (chart.limit !== null) svg.append(shape("line", { class: "limit", x1: 0, x2: WIDTH, y1: y(chart.limit), y2: y(chart.limit) }));
  return svg;
}

function element(name, className, text = "") {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.textContent = text;
  return node;
}

function legend(chart) {
  const row = element("div", "legend");
  const entry = (key, text) => {
    const item = element("span");
    item.append(element("i", key), text);
    row.append(item);
  };
  chart.lines.forEach((line, index) => entry(`l${index}`, `${line.caption} ${said(line.points.at(-1)?.[1], chart.unit)}`));
  if (chart.limit !== null) entry("limit-key", `limit ${said(chart.limit, chart.unit)}`);
  return row;
}

export function figure(chart, now) {
  const panel = element("figure", "chart panel");
  const head = element("figcaption", "chart-head");
  const over = beyond(chart);
  head.append(element("h3", "", chart.title), element("span", over ? "value bad" : "value", headline(chart)));
  if (over) head.lastChild.title = "beyond its limit";
  panel.append(head, drawing(chart, now), legend(chart));
  return panel;
}
