// Deep links: #/channel/C…, #/channel/C…/ts, #/channel/C…/ts?thread=ts, #/home, #/home/messages.

/** Read the address. Anything unknown is the default channel. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [name, id, ts] = path.split("/").map(decodeURIComponent);
  const thread = new URLSearchParams(query).get("thread");
  if (name === "home") return { name: "home", tab: id === "messages" ? "messages" : "home", channel: "" };
  if (name === "channel" && id)
    return { name: "channel", channel: id, ts: isTs(ts) ? ts : null, thread: isTs(thread) ? thread : null };
  if (name === "archives" && id) return { name: "channel", channel: id, ts: fromPermalink(ts), thread: null };
  return { name: "default", channel: "" };
}

const isTs = (text) => /^\d+\.\d+$/.test(text ?? "");

/** p1700000000000100 → 1700000000.000100 */
function fromPermalink(text) {
  const match = /^p(\d{10})(\d{6})$/.exec(text ?? "");
  return match ? `${match[1]}.${match[2]}` : null;
}

export const toChannel = (id) => `#/channel/${encodeURIComponent(id)}`;

export function go(hash) {
  if (location.hash === hash) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = hash;
}

/** Slack-style permalinks (/archives/C…/p…) open here as deep links. */
export function adoptPermalink() {
  const match = /^\/archives\/([A-Z0-9]+)(?:\/(p\d{16}))?$/.exec(location.pathname);
  if (!match) return;
  const thread = new URLSearchParams(location.search).get("thread_ts");
  const ts = fromPermalink(match[2]);
  history.replaceState(
    null,
    "",
    `/#/channel/${match[1]}${ts ? `/${ts}` : ""}${isTs(thread) ? `?thread=${thread}` : ""}`,
  );
}
