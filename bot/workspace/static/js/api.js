// Talking to the workspace server: JSON over HTTP, and one WebSocket that tells what happened.

/** The server refused, or could not be reached. `message` is a sentence for the person; `code` is the server's word. */
export class ApiError extends Error {
  constructor(message, code = "", body = {}) {
    super(message);
    this.code = code;
    this.body = body;
  }
}

const UNREACHABLE = "The workspace cannot be reached. Trying again…";

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new ApiError(UNREACHABLE, "unreachable");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok)
    throw new ApiError(sentence(body.error, response.status), body.error ?? `http_${response.status}`, body);
  return body;
}

const WORDS = {
  name_taken: "A channel with this name exists already.",
  invalid_name_specials: "Use lower-case letters, digits, hyphens and underscores.",
  invalid_name_maxlength: "Names have at most 80 characters.",
  invalid_name_required: "A channel needs a name.",
  not_in_channel: "Join the channel first.",
  is_archived: "This channel is archived.",
  msg_too_long: "This message is too long.",
  too_many_pins: "A channel holds at most 100 pins.",
};

/** A server's error code in words. */
export function sentence(code, status = 0) {
  if (!code) return status ? `That did not work (HTTP ${status}).` : "That did not work.";
  if (/\s/.test(code)) return code;
  return WORDS[code] ?? `That did not work (${code.replaceAll("_", " ")}).`;
}

export const get = (path, query = {}) => {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return call(`${path}?${new URLSearchParams(given)}`, { headers: { accept: "application/json" } });
};

/** POST JSON. An answer with `ok: false` is returned, not thrown: its caller knows where to show it. */
export const post = (path, body) =>
  call(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

/** POST where a refusal is exceptional: throws it as a sentence. */
export async function must(path, body) {
  const answer = await post(path, body);
  if (answer.ok === false) throw new ApiError(sentence(answer.error), answer.error, answer);
  return answer;
}

/**
 * Follow the event stream of `user` until the returned function is called. Reconnects by itself with growing pauses
 * (0.5 s to 8 s); `onOpen(first)` is told of every connection, so that the missed part can be fetched.
 */
export function listen(user, { onEvent, onOpen, onLost }) {
  let socket;
  let timer;
  let pause = 500;
  let first = true;
  let stopped = false;

  const connect = () => {
    const url = new URL(`/client/socket?user=${encodeURIComponent(user)}`, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(url);
    socket.onopen = () => {
      pause = 500;
      onOpen(first);
      first = false;
    };
    socket.onmessage = ({ data }) => onEvent(JSON.parse(data));
    socket.onclose = () => {
      if (stopped) return;
      onLost();
      timer = setTimeout(connect, pause);
      pause = Math.min(8000, pause * 2);
    };
  };

  connect();
  return () => {
    stopped = true;
    clearTimeout(timer);
    socket.close();
  };
}
