// Shortcodes people and bots use most. Signs that carry a state are drawn, so that they look the same on every machine.
import { h, s } from "./dom.js";
import { icon } from "./icons.js";

const TABLE = `+1 👍|thumbsup 👍|-1 👎|thumbsdown 👎|ok_hand 👌|clap 👏|raised_hands 🙌|pray 🙏|wave 👋|muscle 💪|point_up ☝️
point_right 👉|point_left 👈|point_down 👇|v ✌️|raised_hand ✋|writing_hand ✍️|handshake 🤝|eyes 👀
brain 🧠|smile 😄|smiley 😃|grinning 😀|slightly_smiling_face 🙂|wink 😉|joy 😂|sweat_smile 😅
thinking_face 🤔|thinking 🤔|neutral_face 😐|cry 😢|sob 😭|scream 😱|sunglasses 😎|heart_eyes 😍|relieved 😌
sleeping 😴|face_with_rolling_eyes 🙄|facepalm 🤦|shrug 🤷|tada 🎉|sparkles ✨|fire 🔥|rocket 🚀|boom 💥
zap ⚡|star ⭐|heart ❤️|broken_heart 💔|100 💯|heavy_check_mark ✔️|ballot_box_with_check ☑️
heavy_plus_sign ➕|heavy_minus_sign ➖|question ❓|exclamation ❗|bangbang ‼️|no_entry ⛔|no_entry_sign 🚫
stop_sign 🛑|octagonal_sign 🛑|construction 🚧|rotating_light 🚨|bell 🔔|no_bell 🔕|mega 📣|loudspeaker 📢
speech_balloon 💬|thought_balloon 💭|pushpin 📌|round_pushpin 📍|paperclip 📎|link 🔗|lock 🔒|unlock 🔓
key 🔑|mag 🔍|mag_right 🔎|bulb 💡|wrench 🔧|hammer 🔨|hammer_and_wrench 🛠️|gear ⚙️|nut_and_bolt 🔩
toolbox 🧰|fire_engine 🚒|fire_extinguisher 🧯|ambulance 🚑|pager 📟|phone ☎️|telephone_receiver 📞
iphone 📱|computer 💻|desktop_computer 🖥️|keyboard ⌨️|floppy_disk 💾|package 📦|label 🏷️|bookmark 🔖
books 📚|book 📖|notebook 📓|memo 📝|pencil 📝|pencil2 ✏️|clipboard 📋|page_facing_up 📄|scroll 📜
newspaper 📰|calendar 📅|date 📅|spiral_calendar_pad 🗓️|clock1 🕐|hourglass ⌛|hourglass_flowing_sand ⏳
alarm_clock ⏰|stopwatch ⏱️|timer_clock ⏲️|watch ⌚|chart_with_upwards_trend 📈
chart_with_downwards_trend 📉|bar_chart 📊|moneybag 💰|money_with_wings 💸|credit_card 💳|arrow_up ⬆️
arrow_down ⬇️|arrow_left ⬅️|arrow_right ➡️|arrow_upper_right ↗️|arrows_counterclockwise 🔄
leftwards_arrow_with_hook ↩️|rewind ⏪|fast_forward ⏩|arrow_forward ▶️|double_vertical_bar ⏸️
black_square_for_stop ⏹️|repeat 🔁|twisted_rightwards_arrows 🔀|robot_face 🤖|ghost 👻|bug 🐛|snail 🐌
turtle 🐢|ship 🚢|anchor ⚓|sailboat ⛵|ocean 🌊|cloud ☁️|sunny ☀️|snowflake ❄️|rainbow 🌈|earth_africa 🌍
coffee ☕|beers 🍻|pizza 🍕|cake 🍰|trophy 🏆|medal 🏅|dart 🎯|game_die 🎲|jigsaw 🧩|crystal_ball 🔮
test_tube 🧪|microscope 🔬|telescope 🔭|satellite 🛰️|shield 🛡️|detective 🕵️|male-technologist 👨‍💻
female-technologist 👩‍💻|busts_in_silhouette 👥|bust_in_silhouette 👤|baby 👶|see_no_evil 🙈
traffic_light 🚦|vertical_traffic_light 🚦|checkered_flag 🏁|triangular_flag_on_post 🚩|white_flag 🏳️
id 🆔|new 🆕|ok 🆗|sos 🆘|one 1️⃣|two 2️⃣|three 3️⃣|four 4️⃣|five 5️⃣|put_litter_in_its_place 🚮
wastebasket 🗑️|seedling 🌱|balance_scale ⚖️|scales ⚖️|compass 🧭|world_map 🗺️|door 🚪|battery 🔋
electric_plug 🔌`;

const CHARS = new Map(
  TABLE.split(/[|\n]/).map((entry) => {
    const [name, char] = entry.split(" ");
    return [name, char];
  }),
);

const DOTS = {
  red_circle: "#d64545",
  large_red_circle: "#d64545",
  large_orange_circle: "#dd7a2b",
  large_yellow_circle: "#d9a514",
  large_green_circle: "#2f9e5f",
  large_blue_circle: "#3b78c9",
  large_purple_circle: "#8257c4",
  large_brown_circle: "#86603f",
  white_circle: "#f4f4f2",
  black_circle: "#23282b",
};
const SQUARES = {
  large_red_square: "#d64545",
  large_orange_square: "#dd7a2b",
  large_yellow_square: "#d9a514",
  large_green_square: "#2f9e5f",
  large_blue_square: "#3b78c9",
  white_large_square: "#f4f4f2",
  black_large_square: "#23282b",
};
const SIGNS = {
  white_check_mark: () => [
    s("rect", { x: 1.5, y: 1.5, width: 17, height: 17, rx: 4, fill: "#2f9e5f" }),
    s("path", {
      d: "M5.500 10.500 8.700 13.700 14.500 6.500",
      fill: "none",
      stroke: "#fff",
      "stroke-width": 2.4,
      "stroke-linecap": "round",
      "stroke-linejoin": "round",
    }),
  ],
  x: () => [
    s("path", { d: "M4 4l12 12M16 4 4 16", stroke: "#d64545", "stroke-width": 3.6, "stroke-linecap": "round" }),
  ],
  warning: () => [
    s("path", { d: "M10 2 19 18H1z", fill: "#e2a818", "stroke-linejoin": "round" }),
    s("path", { d: "M10 7.500v5M10 15.200v.300", stroke: "#3a2c00", "stroke-width": 2, "stroke-linecap": "round" }),
  ],
  information_source: () => [
    s("rect", { x: 1.5, y: 1.5, width: 17, height: 17, rx: 4, fill: "#3b78c9" }),
    s("path", { d: "M10 9v5.500M10 5.500v.300", stroke: "#fff", "stroke-width": 2.2, "stroke-linecap": "round" }),
  ],
};

function drawing(name) {
  if (DOTS[name]) return [s("circle", { cx: 10, cy: 10, r: 8, fill: DOTS[name], stroke: "rgb(128 128 128 / .35)" })];
  if (SQUARES[name])
    return [
      s("rect", { x: 2, y: 2, width: 16, height: 16, rx: 3, fill: SQUARES[name], stroke: "rgb(128 128 128 / .35)" }),
    ];
  return SIGNS[name]?.() ?? null;
}

export const QUICK = [
  "+1",
  "eyes",
  "white_check_mark",
  "pushpin",
  "pray",
  "tada",
  "heart",
  "fire",
  "rotating_light",
  "thinking_face",
  "x",
  "warning",
  "rocket",
  "100",
  "zap",
  "clap",
  "wave",
  "hourglass_flowing_sand",
  "bulb",
  "memo",
  "joy",
  "sob",
  "red_circle",
  "large_green_circle",
];

export const names = () => [
  ...new Set([...QUICK, ...CHARS.keys(), ...Object.keys(DOTS), ...Object.keys(SQUARES), ...Object.keys(SIGNS)]),
];

export const known = (name) => CHARS.has(name) || Boolean(DOTS[name] || SQUARES[name] || SIGNS[name]);

// Stand-ins for machines without a font for emoji: better a plain sign than an empty box.
const PLAIN = {
  eyes: "eye",
  pushpin: "pin",
  round_pushpin: "pin",
  "+1": "up",
  thumbsup: "up",
  "-1": "thumbdown",
  thumbsdown: "thumbdown",
  lock: "lock",
  link: "link",
  paperclip: "link",
  book: "bookmark",
  books: "bookmark",
  bookmark: "bookmark",
  memo: "file",
  pencil: "file",
  clipboard: "file",
  page_facing_up: "file",
  zap: "bolt",
  mag: "search",
  mag_right: "search",
  calendar: "calendar",
  date: "calendar",
  wastebasket: "trash",
  speech_balloon: "reply",
  smile: "smile",
  slightly_smiling_face: "smile",
  smiley: "smile",
  grinning: "smile",
  busts_in_silhouette: "people",
  heavy_check_mark: "check",
  arrow_right: "forward",
  arrow_left: "back",
  house: "home",
  rotating_light: "siren",
  tada: "spark",
  sparkles: "spark",
  rocket: "rocket",
  fire: "flame",
  pray: "heart",
  heart: "heart",
  clap: "heart",
  wave: "hand",
  raised_hand: "hand",
  hourglass_flowing_sand: "clock",
  hourglass: "clock",
  stopwatch: "clock",
  alarm_clock: "clock",
  bulb: "bulb",
  thinking_face: "smile",
  joy: "smile",
  sob: "smile",
  chart_with_upwards_trend: "trend",
  bar_chart: "trend",
  wrench: "wrench",
  hammer_and_wrench: "wrench",
  gear: "wrench",
  bell: "bell",
};

const drawable = new Map();

/** Whether this machine has a picture for `char`: it differs from the box drawn for a character nobody has. */
function canDraw(char) {
  if (!drawable.has(char)) drawable.set(char, ink(char) !== ink("\u{10FFFD}"));
  return drawable.get(char);
}

function ink(char) {
  const canvas = Object.assign(document.createElement("canvas"), { width: 24, height: 24 });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.font = '18px "Apple Color Emoji", "Segoe UI Emoji", "Noto Color Emoji", sans-serif';
  pen.fillText([...char][0], 1, 19);
  return pen.getImageData(0, 0, 24, 24).data.join();
}

/** A shortcode as a picture with its name for screen readers; an unknown one stays as it was written. */
export function emoji(rawName) {
  const name = rawName.replace(/::skin-tone-\d$/, "");
  const spoken = name.replaceAll("_", " ");
  const shape = drawing(name);
  if (shape) {
    return s(
      "svg",
      { class: "emoji", viewBox: "0 0 20 20", role: "img", "aria-label": spoken },
      s("title", {}, `:${name}:`),
      ...shape,
    );
  }
  const char = CHARS.get(name);
  if (!char) return document.createTextNode(`:${rawName}:`);
  if (!canDraw(char)) return standIn(name, spoken);
  return h("span", { class: "emoji", role: "img", "aria-label": spoken, title: `:${name}:` }, char);
}

function standIn(name, spoken) {
  if (!PLAIN[name]) return h("span", { class: "emoji-name", title: spoken }, `:${name}:`);
  const sign = icon(PLAIN[name], "emoji emoji-line");
  sign.setAttribute("role", "img");
  sign.setAttribute("aria-label", spoken);
  sign.removeAttribute("aria-hidden");
  return sign;
}
