// A surface is a place where blocks stand and act: a message, a modal, the Home tab.
import { post, sentence } from "./api.js";
import { state } from "./store.js";
import { Values } from "./values.js";

const busy = new Set();

export const busyKey = (surface, blockId, el) => [surface.id, blockId, el.action_id, el.value ?? ""].join("\u001f");

/** States of the interface that a redraw must not lose: folded containers, sorted tables. */
const remembered = new Map();

export class Surface {
  /**
   * `container()` gives Slack's container object at the time of the click, `onError(sentence, node)` shows a refusal,
   * `here` is the channel the person is in.
   */
  constructor({ kind, id, container, onError, onStart, here = null }) {
    this.kind = kind;
    this.id = id;
    this.container = container;
    this.onError = onError;
    this.onStart = onStart;
    this.here = here;
    this.values = new Values();
  }

  sync(blocks) {
    this.values.sync(blocks, this.here);
  }

  isBusy(key) {
    return busy.has(key);
  }

  /** Send one action to the app; the control shows progress until the app has acknowledged. */
  async act(blockId, el, fields, node) {
    const key = busyKey(this, blockId, el);
    if (busy.has(key)) return;
    mark(key, node, true);
    this.onStart?.();
    try {
      const answer = await post("/client/action", {
        user: state.me,
        container: this.container(),
        block_id: blockId,
        action_id: el.action_id,
        type: el.type,
        ...fields,
        state: { values: this.values.snapshot() },
      });
      if (answer.ok === false) this.onError(sentence(answer.error), node);
    } catch (error) {
      this.onError(error.message, node);
    } finally {
      mark(key, node, false);
    }
  }

  /** Options of an external select. */
  async suggest(blockId, actionId, value) {
    const answer = await post("/client/suggest", {
      user: state.me,
      container: this.container(),
      block_id: blockId,
      action_id: actionId,
      value,
    });
    if (answer.ok === false) throw new Error(sentence(answer.error));
    return answer;
  }

  remember(blockId, initial) {
    const key = `${this.id}\u001f${blockId}`;
    if (!remembered.has(key)) remembered.set(key, initial);
    return remembered.get(key);
  }
}

function mark(key, node, on) {
  if (on) busy.add(key);
  else busy.delete(key);
  const shown = [node, ...document.querySelectorAll(`[data-busy-key="${CSS.escape(key)}"]`)];
  for (const one of shown) one?.setAttribute("aria-busy", String(on));
}
