// One or several choices from a list: static, external, people, conversations. A button that opens a filtered listbox.
import { clear, h } from "./dom.js";
import { popover } from "./popover.js";
import { icon } from "./icons.js";

const WAIT_MS = 200; // Between the last key and asking the app for external options.

/**
 * @param {object} spec
 *   label, placeholder, multi, max; `groups(query)` → (promise of) [{label?, options: [{key, node, text, description?, data}]}];
 *   `chosen` → initial options; `remote` {min} when the far side filters; `onChange(options)`, `onDone(options)` on closing.
 */
export function picker(spec) {
  let chosen = spec.chosen ?? [];
  const face = h("span", { class: "picker-face" });
  const button = h(
    "button",
    {
      ...spec.attrs,
      type: "button",
      class: "picker",
      role: "combobox",
      "aria-haspopup": "listbox",
      "aria-expanded": "false",
      "aria-label": spec.label,
      onclick: open,
    },
    face,
    icon("down"),
  );
  button.addEventListener("keydown", (event) => {
    if (!["ArrowDown", "ArrowUp"].includes(event.key)) return;
    event.preventDefault();
    open();
  });
  drawFace();
  return button;

  function drawFace() {
    clear(face);
    if (chosen.length === 0) face.append(h("span", { class: "placeholder" }, spec.placeholder || "Choose…"));
    else if (!spec.multi) face.append(chosen[0].node.cloneNode(true));
    else face.append(...chosen.map((one) => h("span", { class: "chip" }, one.node.cloneNode(true))));
    const words = chosen.map((one) => one.text).join(", ");
    button.setAttribute("aria-label", `${spec.label}: ${words || spec.placeholder || "nothing chosen"}`);
  }

  function open() {
    if (button.disabled) return;
    const field = h("input", {
      type: "text",
      class: "picker-filter",
      placeholder: "Filter",
      "aria-label": `Filter ${spec.label}`,
      autocomplete: "off",
      spellcheck: "false",
      "aria-controls": "picker-list",
      autofocus: true,
    });
    const box = h("div", {
      class: "picker-list",
      id: "picker-list",
      role: "listbox",
      "aria-label": spec.label,
      "aria-multiselectable": spec.multi ? "true" : null,
    });
    const before = keys(chosen);
    const close = popover(button, h("div", { class: "picker-panel" }, field, box), {
      label: spec.label,
      className: "popover-picker",
      onClose: () => keys(chosen) !== before && spec.onDone?.(chosen),
    });
    listbox({ field, box, spec, isChosen: (option) => chosen.some((one) => one.key === option.key), choose });

    function choose(option, redraw) {
      if (spec.multi) {
        const has = chosen.some((one) => one.key === option.key);
        if (!has && spec.max && chosen.length >= spec.max) return;
        chosen = has ? chosen.filter((one) => one.key !== option.key) : [...chosen, option];
        redraw();
      } else chosen = [option];
      drawFace();
      spec.onChange?.(chosen);
      if (!spec.multi) close();
    }
  }
}

const keys = (options) => options.map((one) => one.key).join("\u001f");

function listbox({ field, box, spec, isChosen, choose }) {
  let active = 0;
  let timer;
  let asked = 0;

  const options = () => [...box.querySelectorAll("[role=option]")];
  const mark = (to) => {
    const all = options();
    active = all.length ? (to + all.length) % all.length : 0;
    all.forEach((node, i) => node.classList.toggle("active", i === active));
    all[active]?.scrollIntoView({ block: "nearest" });
    if (all[active]) field.setAttribute("aria-activedescendant", all[active].id);
  };

  async function fill() {
    const query = field.value.trim();
    asked += 1;
    const mine = asked;
    if (spec.remote && query.length < spec.remote.min) return note(`Type ${spec.remote.min} or more characters`);
    if (spec.remote) note("Searching…");
    let groups;
    try {
      groups = await spec.groups(query);
    } catch (error) {
      return mine === asked && note(error.message);
    }
    if (mine === asked) draw(groups, query);
  }

  function draw(groups, query) {
    clear(box);
    let n = 0;
    for (const group of groups) {
      const shown = spec.remote ? group.options : group.options.filter((one) => matches(one, query));
      if (shown.length && group.label)
        box.append(h("div", { class: "menu-heading", role: "presentation" }, group.label));
      for (const option of shown) box.append(row(option, (n += 1)));
    }
    if (n === 0) return note("Nothing matches");
    const at = options().findIndex((node) => node.getAttribute("aria-selected") === "true");
    mark(Math.max(0, at));
  }

  function row(option, n) {
    const on = isChosen(option);
    const node = h(
      "div",
      { class: "menu-item", role: "option", id: `picker-option-${n}`, "aria-selected": String(on) },
      h(
        "span",
        { class: "menu-text" },
        h("span", {}, option.node.cloneNode(true)),
        option.description ? h("small", {}, option.description) : null,
      ),
      on ? h("span", { class: "menu-check", "aria-hidden": "true" }, "✓") : null,
    );
    node.addEventListener("click", () => choose(option, fill));
    node.addEventListener("pointermove", () => mark(n - 1));
    return node;
  }

  const note = (text) => clear(box).append(h("div", { class: "menu-note" }, text));

  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(fill, spec.remote ? WAIT_MS : 0);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") mark(active + 1);
    else if (event.key === "ArrowUp") mark(active - 1);
    else if (event.key === "Enter" && !event.isComposing) options()[active]?.click();
    else return;
    event.preventDefault();
  });
  fill();
}

const matches = (option, query) => option.text.toLowerCase().includes(query.toLowerCase());
