// Single keys of the review page. They can be switched off, as those of the ranking page, with which they share the switch.
import { keysAreOn } from "../ranking/keys.js";

/** Call `commands` for keys; while `commands.adjudicating()`, they are those of the ranking page. */
export function listen(commands) {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const command = commandOf(event, commands);
    if (!command) return;
    event.preventDefault();
    command();
  });
}

function commandOf(event, commands) {
  const { key, target } = event;
  const adjudicating = commands.adjudicating();
  if (event.ctrlKey || event.metaKey) return key === "Enter" && adjudicating && !event.repeat ? commands.save : null;
  if (key === "Escape") return adjudicating ? commands.leave : null;
  if (event.altKey || !keysAreOn() || target.closest("textarea, select, input:not([type=radio], [type=checkbox])")) return null;
  if (key === "?") return commands.keys;
  if (key === "ArrowUp" || key === "ArrowDown") {
    if (target.closest("input, .topbar, .nav")) return null;
    const by = key === "ArrowUp" ? -1 : 1;
    return event.shiftKey && adjudicating ? () => commands.nudge(by) : () => commands.step(by);
  }
  return adjudicating ? ordering(event, commands) : reading(event, commands);
}

function reading(event, commands) {
  // A verdict is given once, however long its key is held.
  if (event.repeat) return null;
  const letters = { a: commands.accept, r: commands.back, j: commands.adjudicate, n: commands.next, l: commands.guidelines };
  return letters[event.key.toLowerCase()] ?? null;
}

function ordering(event, commands) {
  const { key, target } = event;
  if (key === "Enter") return event.repeat || target.closest("button, a, summary") ? null : commands.save;
  if (/^[1-9]$/.test(key)) return () => commands.tier(Number(key));
  if (key === "0" || key === "Backspace" || key === "Delete") return commands.unrank;
  if (key === "=") return commands.tie;
  if (event.shiftKey && /^[a-i]$/i.test(key)) return () => commands.focus(key.toUpperCase());
  return { z: commands.undo, l: commands.guidelines }[key.toLowerCase()] ?? null;
}
