// The page of the simulated service. It asks for /state every second and draws; everything is text nodes, never markup.

import { beyond, figure, said } from "/static/charts.js";

const base = location.pathname.startsWith("/worlds/") ? location.pathname.replace(/\/?$/, "") : "";
const spot = (id) => document.getElementById(id);

function element(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

async function send(method, path, body) {
  const response = await fetch(base + path, {
    method,
    headers: { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new Error(answer.reason ?? `the service answered ${response.status}`);
  }
}

async function press(button, method, path, body) {
  // Busy rather than disabled: a disabled button would lose the keyboard's focus.
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  const problem = spot("problem");
  problem.hidden = true;
  try {
    await send(method, path, body);
    await refresh();
  } catch (error) {
    problem.textContent = `Not done: ${error.message}.`;
    problem.hidden = false;
  } finally {
    button.removeAttribute("aria-busy");
  }
}

const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

const faultCards = new Map();

// Cards are made once and changed in place, so that focus stays on the button pressed.
function faultCard(fault) {
  if (faultCards.has(fault.kind)) return faultCards.get(fault.kind);
  const parts = { tag: element("span", "tag"), button: element("button", "") };
  parts.button.type = "button";
  parts.card = element("article", "fault", element("h3", "", fault.title), element("p", "", fault.description),
    element("div", "fault-foot", parts.tag, parts.button));
  parts.button.addEventListener("click", () => {
    const begun = parts.card.classList.contains("active") || parts.card.classList.contains("mended");
    if (begun) press(parts.button, "DELETE", `/faults/${fault.kind}?by=page`);
    else press(parts.button, "POST", "/faults", { kind: fault.kind, by: "page" });
  });
  spot("faults").append(parts.card);
  faultCards.set(fault.kind, parts);
  return parts;
}

function drawFault(fault) {
  const { card, tag, button } = faultCard(fault);
  const active = fault.active;
  card.className = active ? (active.mended ? "fault mended" : "fault active") : "fault";
  const state = active?.mended ? ", signals back inside" : "";
  tag.textContent = active ? `Broken since ${clock(active.since)}${state}` : fault.group;
  button.textContent = active ? "End it" : "Break";
  button.setAttribute("aria-label", `${button.textContent}: ${fault.title}`);
}

function drawStage(stage) {
  const unused = !stage.rate;
  const slow = { app: 0.2, retrieval: 0.5, model: 1.2, provider: 1.5 }[stage.stage];
  const bad = !unused && (stage.errors > 0.05 || stage.p99 > slow);
  const figures = unused ? "not used by the present route" : `p99 ${said(stage.p99, "s")}, ${said(stage.errors, "ratio")} fail`;
  return element("li", `stage ${unused ? "unused" : bad ? "bad" : ""}`, element("b", "", stage.stage),
    element("span", "figure", figures), element("span", "", unused ? "" : `${said(stage.rate, "1/s")}`));
}

function drawAlert(alert) {
  return element("li", "", element("span", alert.status, `${alert.status}: `), `${alert.name}. ${alert.summary}. ${alert.description} `,
    element("span", "when", `since ${clock(alert.since * 1000)}`));
}

function drawChange(change) {
  return element("li", "", `${change.kind} ${change.summary} `, element("span", "when", `${clock(change.at)} by ${change.by}`));
}

function worded(target) {
  const { value, kind } = target;
  if (kind === "flag") return [value ? "on" : "off", ""];
  if (kind === "pool") return [`${value.replicas} replicas`, value.ready === value.replicas ? "all ready" : `${value.ready} ready`];
  if (kind === "retries") return [`${value.attempts} attempts`, ""];
  if (kind === "release") return [value.version, value.last_known_good ? `good before it: ${value.last_known_good}` : ""];
  if (kind === "route") return [value.route, ""];
  return [value.value.toLocaleString("en"), ""];
}

function drawSetting(target) {
  const [main, more] = worded(target);
  const changed = target.version > 1 ? `changed ${clock(target.changed_at)} by ${target.changed_by}` : target.description;
  return element("div", "setting", element("div", "of", `${target.kind} ${target.name}`, element("small", "", changed)),
    element("output", "", main, element("small", "", more)));
}

const kinds = ["pool", "release", "route", "flag", "retries", "limit"];

function fill(id, nodes, otherwise) {
  spot(id).replaceChildren(...(nodes.length ? nodes : [element("li", "when", otherwise)]));
}

function drawStatus(state) {
  const firing = state.alerts.filter((alert) => alert.status === "firing").length;
  const out = state.charts.filter(beyond).length;
  const status = spot("status");
  status.className = firing ? "status bad" : out ? "status warn" : "status";
  const text = firing ? `${firing} alert${firing > 1 ? "s" : ""} firing` : out ? "Signals beyond their limits" : "All signals inside their limits";
  if (status.textContent !== text) status.textContent = text;
}

function draw(state) {
  const now = Date.parse(state.now) / 1000;
  drawStatus(state);
  spot("clock").textContent = `${clock(state.now)}${state.speed === 1 ? "" : ` at speed ${state.speed}`}`;
  state.faults.forEach(drawFault);
  fill("stages", state.stages.map(drawStage), "");
  spot("charts").replaceChildren(...state.charts.map((chart) => figure(chart, now)));
  fill("alerts", state.alerts.map(drawAlert), base ? "A world apart raises no alerts." : "No alert stands.");
  fill("changes", state.changes.slice(0, 12).map(drawChange), "Nothing was changed yet.");
  const ordered = [...state.targets].sort((a, b) => kinds.indexOf(a.kind) - kinds.indexOf(b.kind));
  spot("settings").replaceChildren(...ordered.map(drawSetting));
}

async function refresh() {
  const response = await fetch(`${base}/state`);
  if (!response.ok) throw new Error(`the service answered ${response.status}`);
  draw(await response.json());
}

async function live() {
  try {
    if (!document.hidden) await refresh();
  } catch {
    const status = spot("status");
    status.className = "status bad";
    status.textContent = "The service does not answer; trying again";
  }
  setTimeout(live, 1000);
}

spot("mend").addEventListener("click", (event) => press(event.currentTarget, "POST", "/mend", { by: "page" }));
spot("reset").addEventListener("click", (event) => press(event.currentTarget, "POST", "/mend", { by: "page", reset: true }));
live();
