// The data_visualization block as inline SVG, with its numbers as a table for those who do not see it.
import { h, s } from "./dom.js";

const W = 640;
const H = 250;
const PAD = { left: 52, right: 14, top: 12, bottom: 46 };

/** Line, bar, area or pie. */
export function chart(block) {
  const spec = block.chart ?? {};
  const draw = { pie, bar: (one) => axes(one, bars), line: (one) => axes(one, lines), area: (one) => axes(one, areas) }[
    spec.type
  ];
  if (!draw) return h("p", { class: "unknown" }, `This chart type is not shown here: ${spec.type}`);
  return h(
    "figure",
    { class: "chart" },
    h("figcaption", {}, block.title),
    draw(spec, block.title),
    legend(spec),
    numbers(spec, block.title),
  );
}

const tone = (i) => `tone-${i % 12}`;

function legend(spec) {
  const names = spec.type === "pie" ? spec.segments.map((one) => one.label) : spec.series.map((one) => one.name);
  if (spec.type !== "pie" && names.length < 2) return null;
  return h(
    "ul",
    { class: "legend", "aria-hidden": "true" },
    names.map((name, i) => h("li", {}, h("span", { class: `legend-mark ${tone(i)}` }), name)),
  );
}

function numbers(spec, title) {
  const rows =
    spec.type === "pie"
      ? spec.segments.map((one) => [one.label, one.value])
      : spec.axis_config.categories.map((label) => [label, ...spec.series.map((one) => valueAt(one, label))]);
  const head =
    spec.type === "pie" ? ["Part", "Value"] : [spec.axis_config.x_label ?? "", ...spec.series.map((one) => one.name)];
  return h(
    "details",
    { class: "chart-numbers" },
    h("summary", {}, "Show as table"),
    h(
      "div",
      { class: "table-scroll", tabindex: 0, role: "region", "aria-label": `${title}, as a table` },
      h(
        "table",
        { class: "table" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            head.map((word) => h("th", { scope: "col" }, word)),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map((row) =>
            h(
              "tr",
              {},
              row.map((value, n) =>
                h(n ? "td" : "th", { class: n ? "align-right" : "", scope: n ? null : "row" }, value ?? "–"),
              ),
            ),
          ),
        ),
      ),
    ),
  );
}

const valueAt = (series, label) => series.data.find((point) => point.label === label)?.value;

const tidy = (value) =>
  Math.abs(value) >= 10_000 ? `${Number((value / 1000).toPrecision(3))}k` : String(Number(value.toPrecision(4)));

/** Round steps for an axis from `low` to `high`. */
function ticks(low, high) {
  const raw = (high - low || 1) / 4;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].find((one) => one * size >= raw) * size;
  const from = Math.floor(low / step) * step;
  const out = [];
  for (let at = from; at < high + step * 0.999; at += step) out.push(Number(at.toPrecision(12)));
  return out;
}

function axes(spec, paint) {
  const { categories, x_label: xLabel, y_label: yLabel } = spec.axis_config;
  const values = spec.series.flatMap((one) => one.data.map((point) => point.value));
  const marks = ticks(Math.min(0, ...values), Math.max(0, ...values));
  const [low, high] = [marks[0], marks.at(-1)];
  const inner = W - PAD.left - PAD.right;
  const band = inner / categories.length;
  const geometry = {
    band,
    categories,
    x: (i) => PAD.left + band * (i + 0.5),
    y: (value) => PAD.top + (H - PAD.top - PAD.bottom) * (1 - (value - low) / (high - low || 1)),
  };
  const every = Math.ceil((categories.length * 62) / inner);
  return s(
    "svg",
    { class: "chart-svg", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": spoken(spec) },
    marks.map((value) =>
      s(
        "g",
        {},
        s("line", {
          class: value === 0 ? "axis" : "grid",
          x1: PAD.left,
          x2: W - PAD.right,
          y1: geometry.y(value),
          y2: geometry.y(value),
        }),
        s("text", { class: "tick", x: PAD.left - 8, y: geometry.y(value) + 4, "text-anchor": "end" }, tidy(value)),
      ),
    ),
    categories.map((label, i) =>
      i % every
        ? null
        : s("text", { class: "tick", x: geometry.x(i), y: H - PAD.bottom + 17, "text-anchor": "middle" }, label),
    ),
    xLabel
      ? s("text", { class: "tick axis-name", x: PAD.left + inner / 2, y: H - 6, "text-anchor": "middle" }, xLabel)
      : null,
    yLabel
      ? s(
          "text",
          {
            class: "tick axis-name",
            x: -(PAD.top + (H - PAD.top - PAD.bottom) / 2),
            y: 12,
            "text-anchor": "middle",
            transform: "rotate(-90)",
          },
          yLabel,
        )
      : null,
    paint(spec, geometry),
  );
}

function spoken(spec) {
  const { categories } = spec.axis_config;
  const one = ({ name, data }) =>
    `${name}: ${data[0]?.value} to ${data.at(-1)?.value}, highest ${Math.max(...data.map((point) => point.value))}`;
  return `${spec.type} chart, ${categories[0]} to ${categories.at(-1)}. ${spec.series.map(one).join(". ")}`;
}

function points(series, { categories, x, y }) {
  return categories
    .map((label, i) => ({ label, value: valueAt(series, label), i }))
    .filter(({ value }) => value !== undefined)
    .map((one) => ({ ...one, x: x(one.i), y: y(one.value) }));
}

const hover = (name, one) => s("title", {}, `${name}, ${one.label}: ${one.value}`);
const path = (list) => list.map((one, i) => `${i ? "L" : "M"}${one.x.toFixed(1)} ${one.y.toFixed(1)}`).join("");

function dots(name, list, i) {
  return list.map((one) => s("circle", { class: `dot ${tone(i)}`, cx: one.x, cy: one.y, r: 3.2 }, hover(name, one)));
}

function lines(spec, geometry) {
  return spec.series.map((series, i) => {
    const list = points(series, geometry);
    return s("g", {}, s("path", { class: `line ${tone(i)}`, d: path(list) }), dots(series.name, list, i));
  });
}

function areas(spec, geometry) {
  return spec.series.map((series, i) => {
    const list = points(series, geometry);
    if (list.length === 0) return null;
    const base = geometry.y(0);
    const shape = `${path(list)}L${list.at(-1).x.toFixed(1)} ${base}L${list[0].x.toFixed(1)} ${base}Z`;
    return s(
      "g",
      {},
      s("path", { class: `area ${tone(i)}`, d: shape }),
      s("path", { class: `line ${tone(i)}`, d: path(list) }),
      dots(series.name, list, i),
    );
  });
}

function bars(spec, geometry) {
  const width = Math.min(46, (geometry.band * 0.72) / spec.series.length);
  return spec.series.map((series, i) =>
    points(series, geometry).map((one) => {
      const zero = geometry.y(0);
      const left = one.x + (i - spec.series.length / 2) * width;
      return s(
        "rect",
        {
          class: `rod ${tone(i)}`,
          x: left + 1,
          width: Math.max(1, width - 2),
          y: Math.min(one.y, zero),
          height: Math.max(1, Math.abs(zero - one.y)),
          rx: 2,
        },
        hover(series.name, one),
      );
    }),
  );
}

function pie(spec, title) {
  const total = spec.segments.reduce((sum, one) => sum + one.value, 0) || 1;
  let turned = 0;
  const label = spec.segments.map((one) => `${one.label} ${Math.round((one.value / total) * 100)} %`).join(", ");
  return s(
    "svg",
    { class: "chart-svg chart-pie", viewBox: "0 0 220 220", role: "img", "aria-label": `${title}: ${label}` },
    spec.segments.map((one, i) => {
      const share = one.value / total;
      const shape = slice(turned, turned + share);
      turned += share;
      return s(
        "path",
        { class: `slice ${tone(i)}`, d: shape },
        s("title", {}, `${one.label}: ${one.value} (${Math.round(share * 100)} %)`),
      );
    }),
  );
}

function slice(from, to) {
  const [r, hole, c] = [100, 52, 110];
  const end = Math.min(to, from + 0.99999); // A full circle has no arc.
  const at = (share, radius) => {
    const angle = share * 2 * Math.PI - Math.PI / 2;
    return `${(c + radius * Math.cos(angle)).toFixed(2)} ${(c + radius * Math.sin(angle)).toFixed(2)}`;
  };
  const large = end - from > 0.5 ? 1 : 0;
  return `M${at(from, r)}A${r} ${r} 0 ${large} 1 ${at(end, r)}L${at(end, hole)}A${hole} ${hole} 0 ${large} 0 ${at(from, hole)}Z`;
}
