// The lightning menu: an app's global shortcuts and its commands.
import { must } from "./api.js";
import { icon } from "./icons.js";
import { menu } from "./popover.js";
import { state } from "./store.js";
import { toast } from "./toast.js";

/** Open it; `type(text)` puts a command into the composer. */
export function openShortcuts(anchor, channel, type) {
  const shortcuts = (state.app?.shortcuts ?? []).filter((one) => one.type === "global");
  const commands = state.app?.commands ?? [];
  menu(anchor, "Shortcuts", [
    { heading: state.app?.name ?? "App" },
    ...shortcuts.map((one) => ({
      label: one.name,
      hint: one.description,
      icon: icon("bolt"),
      run: () => runShortcut(one, channel),
    })),
    ...(type
      ? commands.map((one) => ({
          label: one.command,
          hint: one.description,
          icon: icon("slash"),
          run: () => type(`${one.command} `),
        }))
      : []),
    shortcuts.length + commands.length === 0 && { label: "No app has a shortcut here", run: () => {} },
  ]);
}

export function runShortcut(shortcut, channel) {
  return must("/client/shortcut", { user: state.me, callback_id: shortcut.callback_id, type: "global", channel }).catch(
    (error) => toast(error.message, { kind: "error" }),
  );
}
