// Times in the zone of the person who reads, on a 24-hour clock.

let zone;

/** Set the reader's IANA zone; an unknown one falls back to the browser's. */
export function setZone(name) {
  try {
    new Intl.DateTimeFormat("en-GB", { timeZone: name });
    zone = name || undefined;
  } catch {
    zone = undefined;
  }
  cache.clear();
  days.clear();
}

const cache = new Map();

function formatter(options) {
  const key = JSON.stringify(options);
  if (!cache.has(key))
    cache.set(
      key,
      new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone, hourCycle: options.hour ? "h23" : undefined }),
    );
  return cache.get(key);
}

const show = (date, options) => formatter(options).format(date);

export const clock = (date) => show(date, { hour: "2-digit", minute: "2-digit" });

export const full = (date) =>
  show(date, {
    weekday: "short",
    year: "numeric",
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    timeZoneName: "short",
  });

const days = new Map();

/** A stable key of the reader's calendar day. Kept by quarter of an hour, as all zones begin their days on one. */
export function dayKey(date) {
  const quarter = Math.floor(date.getTime() / 900_000);
  if (!days.has(quarter)) days.set(quarter, show(date, { year: "numeric", month: "2-digit", day: "2-digit" }));
  return days.get(quarter);
}

export function dayLabel(date, now = new Date()) {
  const near = relativeDay(date, now);
  return near ? near[0].toUpperCase() + near.slice(1) : show(date, { weekday: "long", day: "numeric", month: "long" });
}

function relativeDay(date, now) {
  const key = dayKey(date);
  const shifted = (by) => dayKey(new Date(now.getTime() + by * 86_400_000));
  if (key === shifted(0)) return "today";
  if (key === shifted(-1)) return "yesterday";
  if (key === shifted(1)) return "tomorrow";
  return null;
}

export function ago(date, now = new Date()) {
  const seconds = Math.round((date.getTime() - now.getTime()) / 1000);
  const units = [
    ["day", 86_400],
    ["hour", 3_600],
    ["minute", 60],
  ];
  const [unit, size] = units.find(([, least]) => Math.abs(seconds) >= least) ?? ["second", 1];
  return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(Math.trunc(seconds / size), unit);
}

const sameYear = (date) => dayKey(date).slice(-4) === dayKey(new Date()).slice(-4);
const yearIfOther = (date) => (sameYear(date) ? {} : { year: "numeric" });

const TOKENS = {
  date_num: (d) => show(d, { year: "numeric", month: "2-digit", day: "2-digit" }).split("/").reverse().join("-"),
  date_slash: (d) => show(d, { year: "numeric", month: "2-digit", day: "2-digit" }),
  date: (d) => show(d, { year: "numeric", month: "long", day: "numeric" }),
  date_short: (d) => show(d, { month: "short", day: "numeric", ...yearIfOther(d) }),
  date_long: (d) => show(d, { weekday: "long", year: "numeric", month: "long", day: "numeric" }),
  day_divider_pretty: (d) => relativeDay(d, new Date()) ?? show(d, { weekday: "long", month: "long", day: "numeric" }),
  date_pretty: (d) => relativeDay(d, new Date()) ?? show(d, { month: "long", day: "numeric", ...yearIfOther(d) }),
  date_short_pretty: (d) =>
    relativeDay(d, new Date()) ?? show(d, { month: "short", day: "numeric", ...yearIfOther(d) }),
  date_long_pretty: (d) =>
    relativeDay(d, new Date()) ?? show(d, { weekday: "long", month: "long", day: "numeric", ...yearIfOther(d) }),
  date_long_full: (d) => show(d, { weekday: "long", year: "numeric", month: "long", day: "numeric" }),
  time: clock,
  time_secs: (d) => show(d, { hour: "2-digit", minute: "2-digit", second: "2-digit" }),
  ago,
};

/** Fill Slack's date tokens ({date_short}, {time} …) for Unix `seconds`. Null when the time is not one. */
export function formatTokens(seconds, template) {
  const date = new Date(Number(seconds) * 1000);
  if (!Number.isFinite(date.getTime())) return null;
  const text = template.replace(/\{(\w+)\}/g, (whole, token) => TOKENS[token]?.(date) ?? whole);
  return { date, text: text.charAt(0).toUpperCase() + text.slice(1) };
}

/** 10:04 today, else the day before it. */
export function shortly(date) {
  const day = relativeDay(date, new Date()) ?? TOKENS.date_short(date);
  return day === "today" ? clock(date) : `${day} ${clock(date)}`;
}

export const fromTs = (ts) => new Date(Number(ts) * 1000);

/** Unix seconds as the value of a datetime-local field in the reader's zone. */
export function toLocalField(seconds) {
  const parts = Object.fromEntries(
    formatter({ year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" })
      .formatToParts(new Date(seconds * 1000))
      .map(({ type, value }) => [type, value]),
  );
  return `${parts.year}-${parts.month}-${parts.day}T${parts.hour}:${parts.minute}`;
}

/** The other way. Where a clock change makes it ambiguous, the later guess wins. */
export function fromLocalField(value) {
  const wanted = Date.parse(`${value}Z`) / 1000;
  if (!Number.isFinite(wanted)) return null;
  const shift = (at) => Date.parse(`${toLocalField(at)}Z`) / 1000 - at;
  const guess = wanted - shift(wanted);
  return wanted - shift(guess);
}
