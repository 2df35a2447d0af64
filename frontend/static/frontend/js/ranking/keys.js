// Single keys of the ranking page. They can be switched off, since screen readers and voice control may need them.
import { read, write } from "./storage.js";

const STORED = "rankloop:single-keys";

export function keysAreOn() {
  return read(STORED) !== "off";
}

export function bindSwitch(checkbox) {
  checkbox.checked = keysAreOn();
  checkbox.addEventListener("change", () => write(STORED, checkbox.checked ? "on" : "off"));
}

/**
 * Call `commands` for keys: `tier(n)`, `focus(letter)`, `step(by)`, `nudge(by)`, `tie()`, `unrank()`, `submit()`,
 * `open(id)`, and `letters`: for each small letter what its key does. Capital letters go to responses. Keys that a
 * focused control needs for itself stay its own.
 */
export function listen(commands) {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const command = (event.ctrlKey || event.metaKey) ? withControl(event, commands) : plain(event, commands);
    if (!command) return;
    event.preventDefault();
    command();
  });
}

function withControl(event, commands) {
  return event.key === "Enter" && !event.repeat ? commands.submit : null;
}

function plain(event, commands) {
  const { key, target } = event;
  const typing = target.closest("textarea, select, input:not([type=radio], [type=checkbox])");
  if (event.altKey || typing || !keysAreOn()) return null;
  if (key === "Enter") {
    // On a button, link or summary Enter is that control's.
    return event.repeat || target.closest("button, a, summary") ? null : commands.submit;
  }
  if (key === "ArrowUp" || key === "ArrowDown" || key === "ArrowLeft" || key === "ArrowRight") {
    if (target.closest("input, .asked__scroll, .topbar, .nav")) return null;
    // A text that scrolls inside its card keeps what scrolls it.
    if (!event.shiftKey && /Up|Down/.test(key) && target.closest("[data-scrolls]")) return null;
    const by = key === "ArrowUp" || key === "ArrowLeft" ? -1 : 1;
    return event.shiftKey ? () => commands.nudge(by) : () => commands.step(by);
  }
  if (/^[1-9]$/.test(key)) return () => commands.tier(Number(key));
  if (key === "0" || key === "Backspace" || key === "Delete") return commands.unrank;
  if (key === "=") return commands.tie;
  if (key === "?") return () => commands.open("keys");
  // Told by Shift, not by the letter: Caps Lock makes letters capital too.
  if (event.shiftKey && /^[a-i]$/i.test(key)) return () => commands.focus(key.toUpperCase());
  return (!event.shiftKey && commands.letters[key.toLowerCase()]) || null;
}
