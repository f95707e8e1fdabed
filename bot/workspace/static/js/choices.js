// The select menus of Block Kit over the one picker.
import { h } from "./dom.js";
import { avatar } from "./people.js";
import { icon } from "./icons.js";
import { textObject } from "./mrkdwn.js";
import { picker } from "./picker.js";
import { lookup, state } from "./store.js";

const words = (object) => textObject(object).textContent;

function optionItem(option) {
  return {
    key: option.value,
    node: h("span", {}, textObject(option.text)),
    text: words(option.text),
    description: option.description ? words(option.description) : "",
    data: option,
  };
}

function userItem(id) {
  const user = lookup.user(id) ?? { id, name: id };
  return {
    key: id,
    node: h("span", { class: "picker-person" }, avatar(user, "tiny"), lookup.name(user)),
    text: lookup.name(user),
    description: user.title ?? "",
    data: id,
  };
}

function channelItem(id) {
  const channel = lookup.channel(id) ?? { id, name: id };
  const sign = channel.is_im ? icon("at") : icon(channel.is_private ? "lock" : "hash");
  return {
    key: id,
    node: h("span", { class: "picker-person" }, sign, lookup.channelTitle(channel)),
    text: lookup.channelTitle(channel),
    data: id,
  };
}

const people = () =>
  [...state.users.values()]
    .filter((user) => !user.deleted && (!user.is_bot || lookup.isBot(user.id)))
    .map((user) => userItem(user.id));

function conversations(el) {
  const include = el.filter?.include;
  return [...state.channels.values()]
    .filter((channel) => channel.is_im || !channel.is_private || lookup.isMember(channel))
    .filter((channel) => !include || include.includes(channel.is_im ? "im" : channel.is_private ? "private" : "public"))
    .map((channel) => channelItem(channel.id));
}

const publicChannels = () =>
  [...state.channels.values()].filter((one) => !one.is_im && !one.is_private).map((one) => channelItem(one.id));

function optionGroups(el) {
  if (el.option_groups)
    return el.option_groups.map((group) => ({ label: words(group.label), options: group.options.map(optionItem) }));
  return [{ options: (el.options ?? []).map(optionItem) }];
}

async function external(surface, blockId, el, query) {
  const answer = await surface.suggest(blockId, el.action_id, query);
  return optionGroups(answer);
}

const KINDS = {
  static: { item: optionItem, field: "selected_option", groups: (_s, _b, el) => optionGroups(el) },
  external: {
    item: optionItem,
    field: "selected_option",
    groups: external,
    remote: (el) => ({ min: el.min_query_length ?? 3 }),
  },
  users: { item: userItem, field: "selected_user", groups: () => [{ options: people() }] },
  conversations: {
    item: channelItem,
    field: "selected_conversation",
    groups: (_s, _b, el) => [{ options: conversations(el) }],
  },
  channels: { item: channelItem, field: "selected_channel", groups: () => [{ options: publicChannels() }] },
};

/** Any of the ten select elements. */
export function select(el, { surface, blockId, attrs, label, act }) {
  const multi = el.type.startsWith("multi_");
  const kind = KINDS[el.type.replace(/^multi_/, "").replace(/_select$/, "")];
  const field = multi ? `${kind.field}s` : kind.field;
  const held = surface.values.get(blockId, el);
  const chosen = (multi ? (held ?? []) : held ? [held] : []).map(kind.item);
  const send = (items) => act({ [field]: multi ? items.map((one) => one.data) : items[0].data });
  return picker({
    label,
    attrs,
    multi,
    chosen,
    placeholder: el.placeholder?.text,
    max: el.max_selected_items,
    remote: kind.remote?.(el),
    groups: (query) => kind.groups(surface, blockId, el, query),
    onChange: (items) => {
      surface.values.set(blockId, el, multi ? items.map((one) => one.data) : items[0].data);
      if (!multi) send(items);
    },
    onDone: (items) => multi && send(items),
  });
}
