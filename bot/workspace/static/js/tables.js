// The table and data_table blocks.
import { clear, fragment, h } from "./dom.js";
import { element } from "./elements.js";
import { icon } from "./icons.js";
import { richText } from "./richtext.js";

const PAGE = 5; // Slack's default page_size of a data_table.

function cellNode(cell, surface, blockId) {
  if (!cell) return fragment();
  if (cell.type === "rich_text") return richText(cell);
  if (cell.type === "raw_number") return fragment(cell.text ?? number(cell.value));
  if (cell.type === "actions" || cell.elements)
    return fragment((cell.elements ?? []).map((el) => element(el, surface, blockId)));
  return fragment(cell.text ?? "");
}

const number = (value) => (typeof value === "number" ? value.toLocaleString("en-GB") : String(value ?? ""));

const isNumber = (cell) => cell?.type === "raw_number";

function scroller(label, node) {
  return h("div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": label }, node);
}

/** A plain table: the first row is its header. */
export function table(block, surface) {
  const settings = block.column_settings ?? [];
  const look = (cell, n) =>
    `align-${settings[n]?.align ?? (isNumber(cell) ? "right" : "left")}${settings[n]?.is_wrapped ? "" : " nowrap"}`;
  const row = (cells, tag) =>
    h(
      "tr",
      {},
      cells.map((cell, n) =>
        h(tag, { class: look(cell, n), scope: tag === "th" ? "col" : null }, cellNode(cell, surface, block.block_id)),
      ),
    );
  const [head, ...body] = block.rows;
  return scroller(
    "Table",
    h(
      "table",
      { class: "table" },
      h("thead", {}, row(head ?? [], "th")),
      h(
        "tbody",
        {},
        body.map((cells) => row(cells, "td")),
      ),
    ),
  );
}

/** A table that sorts by a click on a heading, filters by words and turns pages. Its state survives a redraw. */
export function dataTable(block, surface) {
  const [head, ...body] = block.rows;
  const rows = body.map((cells) => ({
    cells,
    words: cells.map((cell) => cellNode(cell, surface, block.block_id).textContent),
  }));
  const size = block.page_size ?? PAGE;
  const state = surface.remember(block.block_id ?? block.caption, { sort: -1, down: false, page: 0, query: "" });
  const tbody = h("tbody");
  const headers = head.map((cell, n) => {
    const node = h(
      "th",
      { scope: "col", class: body.some((row) => isNumber(row[n])) ? "align-right" : "" },
      h(
        "button",
        { type: "button", class: "sort", data: { fk: `${block.block_id}\u001fsort${n}` }, onclick: () => sortBy(n) },
        cellNode(cell, surface, block.block_id),
        icon("sort"),
      ),
    );
    return node;
  });
  const pager = h("div", { class: "pager" });
  const filter =
    rows.length > size
      ? h("input", {
          class: "input table-filter",
          type: "search",
          placeholder: "Filter",
          "aria-label": `Filter ${block.caption}`,
          value: state.query,
          data: { fk: `${block.block_id}\u001ffilter` },
        })
      : null;
  filter?.addEventListener("input", () => {
    Object.assign(state, { query: filter.value, page: 0 });
    draw();
  });

  function sortBy(n) {
    Object.assign(state, state.sort === n ? { down: !state.down } : { sort: n, down: false }, { page: 0 });
    draw();
  }

  function draw() {
    const shown = arranged(rows, state);
    const pages = Math.max(1, Math.ceil(shown.length / size));
    state.page = Math.min(state.page, pages - 1);
    headers.forEach((node, n) =>
      node.setAttribute("aria-sort", state.sort === n ? (state.down ? "descending" : "ascending") : "none"),
    );
    clear(tbody).append(...shown.slice(state.page * size, (state.page + 1) * size).map(({ cells }) => bodyRow(cells)));
    clear(pager);
    if (rows.length > size)
      pager.append(
        step("Previous page", "back", -1),
        h("span", {}, `${state.page + 1} of ${pages} · ${shown.length} rows`),
        step("Next page", "forward", 1, pages),
      );
  }

  const bodyRow = (cells) =>
    h(
      "tr",
      {},
      cells.map((cell, n) =>
        h(
          n === block.row_header_column_index ? "th" : "td",
          { class: isNumber(cell) ? "align-right" : "", scope: n === block.row_header_column_index ? "row" : null },
          cellNode(cell, surface, block.block_id),
        ),
      ),
    );

  function step(label, sign, by, pages = Infinity) {
    const to = state.page + by;
    return h(
      "button",
      {
        type: "button",
        class: "icon-button",
        "aria-label": label,
        disabled: to < 0 || to >= pages,
        data: { fk: `${block.block_id}\u001f${sign}` },
        onclick: () => {
          state.page = to;
          draw();
          pager.querySelector(`[aria-label="${label}"]:not(:disabled)`)?.focus();
        },
      },
      icon(sign),
    );
  }

  draw();
  return h(
    "div",
    { class: "data-table" },
    h("div", { class: "data-table-head" }, h("div", { class: "caption" }, block.caption), filter),
    scroller(block.caption, h("table", { class: "table" }, h("thead", {}, h("tr", {}, headers)), tbody)),
    pager,
  );
}

function arranged(rows, { sort, down, query }) {
  const wanted = query.trim().toLowerCase();
  const kept = rows.filter(({ words }) => !wanted || words.some((word) => word.toLowerCase().includes(wanted)));
  if (sort < 0) return kept;
  const way = down ? -1 : 1;
  return [...kept].sort((a, b) => way * compare(a, b, sort));
}

function compare(a, b, n) {
  if (isNumber(a.cells[n]) && isNumber(b.cells[n])) return Number(a.cells[n].value) - Number(b.cells[n].value);
  return (a.words[n] ?? "").localeCompare(b.words[n] ?? "", "en", { numeric: true, sensitivity: "base" });
}
