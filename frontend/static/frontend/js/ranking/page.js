// The ranking page: holds one task after the other. The task ahead is shown at once when one is done; what was answered
// is sent behind the annotator's back.
import { toast } from "../toasts.js";
import { Ahead, Sheet } from "./ahead.js";
import { keepRoom } from "./bar.js";
import { bind } from "./commands.js";
import { Draft } from "./draft.js";
import { Outbox } from "./outbox.js";
import { described, Refusals } from "./refusals.js";
import { get, post, Refused, Unreachable } from "./sending.js";
import { midnight, State } from "./state.js";
import { whenNotKept } from "./storage.js";
import { Task } from "./task.js";
import { announce, notice, tell } from "./telling.js";
import { skipInWords, troubleInWords } from "./troubles.js";

const JUST_SHOWN = 500;
const JUST_LEASED = 5_000;

const holder = document.querySelector("[data-task]");
const { back, next, history, done } = holder.dataset;
const user = Number(holder.dataset.user);

let sheet = Sheet.shownIn(holder);
let task = null;
let shownAt = 0;
/** Whether the shown task came with an answer, and nobody has done anything since. */
let untouched = false;
/** The key of the answer to the shown task, while there is no other task to show. */
let waitingFor = null;
/** `{key, assignment, sheet}` of what was submitted last, for undoing it. */
let last = null;
let undoing = false;

const outbox = new Outbox(user, { asks: wanted, changed, taken, refused, troubled });
const state = new State(holder, outbox, { project: history, done: Number(done), mayUndo: () => last !== null && !sheet.amends });
const ahead = new Ahead({
  url: next,
  asks: () => ({ besides: besides(), since: midnight() }),
  came: ({ progress }) => state.progressed(progress),
  arrived: () => waitingFor && goOn("Submitted."),
  paused,
  dropped: () => toast("The time for the task that you were in ran out, and it went to somebody else. What you did of it is still in this browser.", "warning"),
});
const refusals = new Refusals({ area: document.querySelector("[data-refused]"), dialog: document.getElementById("answer"), project: history, outbox, back: goBackTo });

// Showing

function start() {
  const workbench = holder.querySelector("[data-workbench]");
  task = workbench && new Task(workbench, user, { announce, lost, warn: (sentence) => notice(sentence) });
  shownAt = performance.now();
  untouched = task?.missing === null;
  keepRoom(workbench);
  state.draw();
}

function show(other, sentence) {
  task?.end();
  waitingFor = null;
  sheet = other;
  ahead.forget(sheet.assignment);
  holder.replaceChildren(sheet.nodes());
  notice("");
  scrollTo({ top: 0 });
  start();
  announce(task ? sentence : `${sentence} ${holder.querySelector("h2").textContent}.`);
  if (!task) holder.querySelector("[data-look-again]").focus();
  requestAnimationFrame(() => setTimeout(afterPaint, 0, other));
}

function afterPaint(painted) {
  ahead.lookAgain();
  prepare();
  // Its time begins now, and whether it is still this annotator's is known before much is done of it.
  if (sheet === painted && task?.lease && performance.now() - sheet.at > JUST_LEASED) task.lease.renew();
}

/** None of the tasks here is this annotator's any more: what they did of the shown one is kept, and nothing follows. */
function paused(other) {
  if (!sheet.isTask || sheet.amends) return;
  keepDraft();
  show(other, "");
}

/** Send what waits, whose receipt brings the task ahead; with nothing to send, ask for that task alone. */
function prepare() {
  if (outbox.waiting.length) outbox.send();
  else if (task && !back && !sheet.isTold) ahead.fill();
}

/** Show the task ahead; without one, what the server has. */
async function goOn(sentence) {
  const prepared = ahead.shift();
  if (prepared) return show(prepared, `${sentence} Next task.`);
  try {
    const renewed = await ahead.renewed();
    if (renewed) show(renewed, `${sentence} Next task.`);
    else if (waitingFor && outbox.isWaiting(waitingFor)) await outbox.hurry();
    else await takeNext(sentence);
  } catch (error) {
    if (error instanceof Unreachable && waitingFor) troubled(error, {});
    else tell(error);
  }
}

async function takeNext(sentence) {
  const before = sheet;
  const answer = await post(next, { besides: besides(), since: midnight() });
  if (sheet !== before) return; // another one came meanwhile
  state.progressed(answer.progress);
  show(new Sheet(answer.html), `${sentence} Next task.`);
}

/** The assignments that this page has, shown, ahead or answered: the server is asked for one besides them. */
function besides() {
  const own = [...(sheet.isTask ? [sheet.assignment] : []), ...ahead.assignments];
  return [...new Set([...own, ...outbox.waiting.map(({ assignment }) => assignment)])];
}

// Answering

function submit() {
  if (waitingFor) return sendNow();
  if (!task || undoing) return;
  if (task.missing) return task.showMissing();
  // The second half of a double Enter is not for a task that came with its answer.
  if (untouched && performance.now() - shownAt < JUST_SHOWN) return;
  answered(sheet.amends ? "amend" : "submit", task.answer, sheet.amends ? "Changed." : "Submitted.");
}

/** The shown task is done: keep its answer, go on with the task ahead, send. */
function answered(kind, body, sentence) {
  const { workbench, storage, draft } = task;
  const { assignment, unsure } = sheet;
  if (task.lease) sheet.until = task.lease.until;
  storage.save(draft);
  const key = outbox.put({
    ...described(workbench, body.tiers ?? []),
    kind,
    assignment,
    unsure,
    url: kind === "skip" ? workbench.dataset.skip : workbench.dataset.submit,
    amendUrl: `${history}${assignment}/amend/`,
    project: history,
    draft: storage.name,
    body,
  });
  const isTold = sheet.isTold && kind === "submit";
  if (kind !== "skip") last = isTold ? null : { key, assignment, sheet };
  const prepared = back || isTold ? undefined : ahead.shift();
  if (prepared) return show(prepared, `${sentence} Next task.`);
  waitFor(key);
  if (back || isTold) outbox.hurry();
  else goOn(sentence);
}

function waitFor(key) {
  waitingFor = key;
  task.lock(true);
  submitButton().setAttribute("aria-busy", "true");
}

function waitNoMore() {
  waitingFor = null;
  task.lock(false);
  submitButton().removeAttribute("aria-busy");
}

function submitButton() {
  return task.workbench.querySelector("[data-submit-button]");
}

/** What is sent with an answer: whether a task is wanted in return. The history's page asks for nothing, and is sent back to it. */
function wanted({ key, project }) {
  // Another project's answers wait in this browser too.
  if (project !== history) return { besides: null };
  if (back) return key === waitingFor ? {} : { besides: null };
  const isLast = outbox.waiting.at(-1)?.key === key;
  return { besides: isLast && (ahead.isEmpty || key === waitingFor) ? besides() : null, since: midnight() };
}

function taken({ key, project }, { html, url, progress }) {
  if (url) return location.assign(url);
  if (project !== history) return prepare();
  state.progressed(progress);
  const other = html && ahead.receive(html);
  if (key !== waitingFor) prepare();
  else if (other && !other.isTask && (ahead.isEmpty || sheet.isTold)) show(other, "Submitted.");
  else goOn("Submitted.");
}

function refused(entry, { code }) {
  if (entry.kind === "skip") {
    toast(skipInWords(entry, code));
    outbox.dismiss(entry.key);
  }
  if (entry.key === last?.key) last = null;
  state.draw();
  if (entry.key !== waitingFor) {
    // What befell that task may have befallen this one: a closed batch, say.
    task?.lease?.renew();
    return prepare();
  }
  waitNoMore();
  if (!back && code !== "invalid") goOn("");
}

/** `elsewhere`: by another tab, which may have sent what this one waits for. */
function changed({ elsewhere }) {
  state.draw();
  refusals.draw();
  if (!elsewhere || !waitingFor || outbox.isWaiting(waitingFor)) return;
  const entry = outbox.refusals.find(({ key }) => key === waitingFor);
  if (entry) refused(entry, entry.refusal);
  else if (back) location.assign(back);
  else goOn("Submitted.");
}

function troubled(error, { seconds, givenUp }) {
  const isNew = state.troubled();
  const told = troubleInWords(error, { seconds, waiting: outbox.waiting.length, back });
  if (givenUp) return notice(told.givenUp, "danger", [["Try again", sendNow]]);
  if (error instanceof Refused) return notice(error.sentence, "warn", [["Send now", sendNow]]);
  if (waitingFor) {
    // It may take long, and what stands here can be read meanwhile.
    task.workbench.toggleAttribute("data-waits", true);
    submitButton().removeAttribute("aria-busy");
    notice(told.stuck, "warn", [["Send now", sendNow]]);
  } else if (isNew) {
    announce(told.meanwhile);
  }
}

function sendNow() {
  notice("");
  if (waitingFor && !outbox.isWaiting(waitingFor)) goOn("Submitted.");
  else outbox.again();
}

// What happens to a task besides answering

/** Its place is no longer this annotator's. */
function lost(refusal) {
  // An answer that was undone and may have arrived all the same: the next one changes it.
  if (waitingFor || (sheet.unsure && refusal.code === "conflict")) return;
  const sentence = refusal.sentence.replace(/ Take the next task\.$/, "");
  if (task.storage.isEmpty || refusal.code === "closed") {
    const told = refusal.code === "lease_lost" ? "The next task went to somebody else meanwhile." : sentence;
    goOn("").then(() => sheet.isPause || toast(told, "warning"));
  } else {
    notice(`${sentence} What you ranked is still in this browser, should the task come back to you.`, "warn", [["Take the next task", () => goOn("")]]);
  }
}

/** To come next again, as it is. */
function setAside() {
  if (!task || waitingFor || sheet.amends) return;
  sheet.until = task.lease.until;
  task.storage.save(task.draft);
  ahead.putFirst(sheet);
}

/** The task that was submitted last is here again. If its answer was not sent yet, it is taken out; else it is amended. */
async function undoSubmit() {
  if (back || undoing || sheet.amends) return;
  if (!last) return announce("There is no answer to undo here. Your history has your earlier ones.");
  undoing = true;
  let { key, assignment, sheet: other } = last;
  try {
    const entry = await outbox.takeBack(key);
    if (!last) return; // refused, which is told
    if (entry) other.unsure = Boolean(entry.tried || entry.unsure);
    else other = new Sheet((await get(`${history}${assignment}/in-place/`)).html);
    setAside();
    last = null;
    show(other, "Undone. Here is the task before, as you answered it.");
  } catch (error) {
    tell(error);
  } finally {
    undoing = false;
  }
}

/** A task whose answer was refused and that is still this annotator's: it comes before the present one. */
async function goBackTo({ key, assignment }) {
  try {
    if (sheet.assignment !== assignment) {
      const prepared = ahead.pull(assignment);
      setAside();
      if (prepared) show(prepared, "");
      else await takeNext("");
    }
    outbox.dismiss(key);
  } catch (error) {
    tell(error);
  }
}

/** The changed answer stays as it was given. */
function leaveAsItIs() {
  task.storage.clear();
  goOn("");
}

async function giveBack() {
  const { giveBack: url, lease } = task.workbench.dataset;
  task.storage.save(task.draft);
  try {
    await ahead.giveBack({ all: true });
    location.assign((await post(url, { lease })).url);
  } catch (error) {
    if (error instanceof Refused && error.final) lost(error);
    else tell(error);
  }
}

/** With the time that it took so far, which no key press saves. */
function keepDraft() {
  if (task && !waitingFor && task.draft.seconds) task.storage.save(task.draft);
}

function skip(reason) {
  if (task && !waitingFor && !undoing) answered("skip", { lease: task.workbench.dataset.lease, reason }, "Skipped.");
}

function active({ type, key }) {
  if (type !== "scroll" && type !== "pointermove" && key !== "Enter") untouched = false;
  if (!waitingFor) task?.active();
}

document.addEventListener("visibilitychange", () => document.hidden && keepDraft());
addEventListener("pagehide", () => {
  keepDraft();
  ahead.giveBack({ keepalive: true });
});
addEventListener("pageshow", ({ persisted }) => persisted && prepare());
addEventListener("online", () => waitingFor && goOn("Submitted."));
addEventListener("beforeunload", (event) => outbox.isFragile && event.preventDefault());

bind(holder, {
  get task() {
    return task;
  },
  get waits() {
    return waitingFor !== null;
  },
  leavesInPlace: !back,
  submit,
  skip,
  giveBack,
  leaveAsItIs,
  undoSubmit,
  sendNow,
  lookAgain: () => goOn(""),
  active,
});

whenNotKept(() => toast("This browser keeps nothing for this page: its storage is full or forbidden. Drafts, and answers that wait to be sent, are lost if you close it.", "warning"));
Draft.forgetOld();
refusals.draw();
start();
// The server holds a task out again as long as it has not heard of its answer.
const unsent = outbox.waiting.find(({ assignment, kind }) => assignment === sheet.assignment && kind !== "amend");
if (task?.lease && unsent) waitFor(unsent.key);
prepare();
