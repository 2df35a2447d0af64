// The ranking page: holds one task after the other, and what is said about them.
import { toast } from "../toasts.js";
import { Differences } from "./differences.js";
import { Draft } from "./draft.js";
import { bindSwitch, listen } from "./keys.js";
import { post, postUntilReached, Refused, retryNow, Unreachable } from "./sending.js";
import { Task } from "./task.js";

const holder = document.querySelector("[data-task]");
const announcer = document.querySelector("[data-announcer]");
const noticeArea = document.querySelector("[data-notice]");
const back = holder.dataset.back;
const onwards = back ? [["Back to your history", () => location.assign(back)]] : [["Take the next task", takeNext]];
// The page keeps as much room for the bar at its end, and the strip of tiers on it, as they take, in whatever lines they stand.
const bar = new ResizeObserver(() => {
  const [actions, board] = [".actions", ".board"].map((name) => holder.querySelector(name));
  if (!actions) return;
  const strip = getComputedStyle(board).position === "fixed" && !("dragging" in task.workbench.dataset) ? board.offsetHeight : 0;
  document.documentElement.style.setProperty("--bar-actions", `${actions.offsetHeight}px`);
  document.documentElement.style.setProperty("--bar", `${actions.offsetHeight + strip}px`);
});
let task = null;
let sending = false;

function announce(sentence) {
  announcer.textContent = "";
  requestAnimationFrame(() => (announcer.textContent = sentence));
}

/** A sentence above the task, with buttons: `[label, action]` pairs. An empty sentence takes it away. */
function notice(sentence, tone = "warn", buttons = []) {
  noticeArea.replaceChildren();
  if (!sentence) return;
  const box = document.querySelector("[data-notice-template]").content.firstElementChild.cloneNode(true);
  box.classList.add(`notice--${tone}`);
  box.querySelector("[data-sentence]").textContent = sentence;
  for (const [label, action] of buttons) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "button", textContent: label });
    button.addEventListener("click", action);
    box.querySelector("[data-buttons]").append(button);
  }
  noticeArea.append(box);
  noticeArea.scrollIntoView({ block: "nearest" });
}

function start() {
  const workbench = holder.querySelector("[data-workbench]");
  task = workbench && new Task(workbench, holder.dataset.user, { announce, lost, warn: (sentence) => notice(sentence) });
  bar.disconnect();
  for (const edge of workbench?.querySelectorAll(".actions, .board") ?? []) bar.observe(edge);
}

function show(html, sentence) {
  task?.end();
  holder.innerHTML = html;
  notice("");
  scrollTo({ top: 0 });
  start();
  announce(task ? `${sentence} Next task.` : `${sentence} ${holder.querySelector("h2").textContent}.`);
  if (!task) holder.querySelector("[data-look-again]").focus();
}

/** Sends what ends the task; whatever happens meanwhile, it is sent once at a time. `keep`: the draft stays here; `again`: what its retry does. */
async function send(url, body, sentence, { keep = false, again = () => send(url, body, sentence, { keep }) } = {}) {
  sending = true;
  task.lock(true);
  const button = task.workbench.querySelector("[data-submit-button]");
  button.setAttribute("aria-busy", "true");
  try {
    const { html, url: away } = await postUntilReached(url, body, (seconds, { failed }) =>
      failed
        ? notice(`The server failed at this. Your ranking is kept in this browser and sent again in ${seconds} seconds.`, "warn", [["Send now", retryNow]])
        : notice(`No connection to the server. Your ranking is kept in this browser and sent again in ${seconds} seconds, and as soon as you are back online.`, "warn", [["Send now", retryNow]]),
    );
    if (!keep) task.storage.clear();
    if (away) location.assign(away);
    else show(html, sentence);
  } catch (error) {
    if (error instanceof Unreachable) broken(error, again);
    else if (error instanceof Refused) refused(error);
    else throw error;
  } finally {
    sending = false;
    if (button.isConnected) {
      button.removeAttribute("aria-busy");
      task.lock(false);
    }
  }
}

function submit() {
  if (sending) return retryNow();
  if (!task) return;
  if (task.missing) return task.showMissing();
  send(task.workbench.dataset.submit, task.answer, "Saved.", { again: submit });
}

/** The server is there and fails each time: it is the annotator's to say when to try again. */
function broken({ status }, again) {
  notice(
    `The server fails at this each time (error ${status}), so it is not sent again by itself. Nothing is lost: your ranking is kept in this browser. Try again in a few minutes; if it still fails, tell whoever runs this Rankloop, whose log has the reason.`,
    "danger",
    [["Try again", again]],
  );
}

function lost(refusal) {
  if (refusal.code === "closed") closed(refusal);
  else notice(`${refusal.sentence.replace(/ Take the next task\.$/, "")} What you ranked is still in this browser, should the task come back to you.`, "warn", onwards);
}

/** Nobody ranks this task any more, so there is nothing to decide: on to the next one. */
function closed(refusal) {
  task.storage.clear();
  toast(refusal.sentence, "warning");
  takeNext();
}

function refused(error) {
  const over = ["lease_lost", "closed", "not_found", "conflict"].includes(error.code);
  if (error.code === "lease_lost" || (error.code === "closed" && !back)) lost(error);
  else notice(error.sentence, error.code === "logged_out" ? "warn" : "danger", over ? onwards : []);
}

async function takeNext() {
  try {
    const { html } = await post(holder.dataset.next);
    show(html, "");
  } catch (error) {
    toast(error instanceof Refused ? error.sentence : "No connection to the server. Try again in a moment.", "error");
  }
}

holder.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});

holder.addEventListener("click", (event) => {
  if (event.target.closest("[data-look-again]")) takeNext();
  if (event.target.closest("[data-gives-back]") && !sending) send(task.workbench.dataset.giveBack, { lease: task.workbench.dataset.lease }, "Given back.", { keep: true });
  const citation = event.target.closest("a.citation");
  if (citation) {
    event.preventDefault();
    showPassage(citation);
  }
});

function showPassage(citation) {
  const passage = document.querySelector(citation.getAttribute("href"));
  holder.querySelector("[data-passages]").open = true;
  for (const other of holder.querySelectorAll(".passage[data-cited]")) other.removeAttribute("data-cited");
  passage.toggleAttribute("data-cited", true);
  passage.scrollIntoView({ block: "nearest" });
  passage.focus({ preventScroll: true });
  // Escape goes back to where it was cited.
  passage.addEventListener("keydown", ({ key }) => key === "Escape" && citation.focus(), { once: true });
}

// A reason is nobody's until it is chosen, for each task anew.
document.getElementById("skip")?.addEventListener("close", (event) => event.target.querySelector("form").reset());
document.querySelector("[data-skip-form]")?.addEventListener("submit", (event) => {
  const reason = new FormData(event.target).get("reason") ?? "";
  if (task && !sending) send(task.workbench.dataset.skip, { lease: task.workbench.dataset.lease, reason }, "Skipped.");
});

function openDialog(id) {
  document.getElementById(id)?.showModal();
}

for (const kind of ["pointerdown", "keydown", "scroll"]) {
  document.addEventListener(kind, () => task?.active(), { passive: true, capture: true });
}

bindSwitch(document.querySelector("[data-single-keys]"));
listen({
  submit,
  tier: (tier) => !sending && task?.placeCurrent(tier),
  tie: () => !sending && task?.tieCurrent(),
  unrank: () => !sending && task?.unrankCurrent(),
  nudge: (by) => !sending && task?.nudgeCurrent(by),
  step: (by) => task?.step(by),
  focus: (letter) => task?.focusLetter(letter),
  open: openDialog,
  letters: {
    z: () => !sending && task?.undo(),
    s: () => openDialog("skip"),
    l: () => openDialog("guidelines"),
    d: () => task?.part(Differences).toggle(),
  },
});
Draft.forgetOld();
start();
