// What the ranking page says: aloud to screen readers, above the task, or in passing.
import { toast } from "../toasts.js";
import { noticeBox } from "./notices.js";
import { Refused, Unreachable } from "./sending.js";

const announcer = document.querySelector("[data-announcer]");
const noticeArea = document.querySelector("[data-notice]");

export function announce(sentence) {
  announcer.textContent = "";
  requestAnimationFrame(() => (announcer.textContent = sentence));
}

/** A sentence above the task, with buttons as of `noticeBox`. An empty sentence takes it away. */
export function notice(sentence, tone = "warn", buttons = []) {
  noticeArea.replaceChildren(...(sentence ? [noticeBox(sentence, tone, buttons)] : []));
  if (sentence) noticeArea.scrollIntoView({ block: "nearest" });
}

/** What could not be done just now. Any other error is thrown on. */
export function tell(error) {
  if (error instanceof Refused) toast(error.sentence, "error");
  else if (error instanceof Unreachable) toast("No connection to the server. Try again in a moment.", "error");
  else throw error;
}
