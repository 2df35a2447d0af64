// A task under review: the three verdicts, by keys, mouse and touch.
import { bindSwitch } from "../ranking/keys.js";
import { post, Refused } from "../ranking/sending.js";
import { Adjudication } from "./adjudication.js";
import { Kept } from "./kept.js";
import { listen } from "./keys.js";

const review = document.querySelector("[data-review]");
const dialog = document.getElementById("return");
const form = dialog.querySelector("[data-return-form]");
const announcer = document.querySelector("[data-announcer]");
const cards = [...review.querySelectorAll("[data-response]")];
const kept = new Kept(review.dataset.task);
const adjudication = new Adjudication(review, kept, announce);
let sending = false;

function announce(sentence) {
  announcer.textContent = "";
  requestAnimationFrame(() => (announcer.textContent = sentence));
}

/** A sentence above the task; a task that was judged or changed meanwhile is looked at again or left. */
function notice({ code, sentence }) {
  const area = document.querySelector("[data-notice]");
  const box = document.querySelector("[data-notice-template]").content.firstElementChild.cloneNode(true);
  box.classList.add("notice--danger");
  box.querySelector("[data-sentence]").textContent = sentence;
  if (code === "conflict") {
    button(box, "Reload", () => location.reload());
    button(box, "Next task", next);
  }
  area.replaceChildren(box);
  area.scrollIntoView({ block: "nearest" });
}

function button(box, label, action) {
  const made = Object.assign(document.createElement("button"), { type: "button", className: "button", textContent: label });
  made.addEventListener("click", action);
  box.querySelector("[data-buttons]").append(made);
}

/** Send once at a time, then go where the server says. What is refused goes to `refused(refusal)`. */
async function send(url, body, refused = notice) {
  if (sending) return;
  sending = true;
  review.toggleAttribute("aria-busy", true);
  try {
    const answer = await post(url, body);
    kept.clear();
    location.assign(answer.url);
  } catch (error) {
    sending = false;
    review.removeAttribute("aria-busy");
    refused(
      error instanceof Refused
        ? error
        : { code: "", sentence: "The server was not reached, so nothing was saved yet. What you wrote is kept here: try again in a moment." },
    );
  }
}

function judge(verdict, refused) {
  return send(review.dataset.verdict, { version: review.dataset.version, ...verdict }, refused);
}

function accept() {
  if (!adjudication.active) judge({ verdict: "accepted" });
}

/** On to another task. What was begun of this one stays in this browser tab. */
async function next() {
  if (sending) return;
  sending = true;
  try {
    location.assign((await post(review.dataset.pass)).url);
  } catch (error) {
    sending = false;
    notice({ code: "", sentence: error instanceof Refused ? error.sentence : "The server was not reached. Try again in a moment." });
  }
}

function save() {
  if (!adjudication.active) return;
  if (adjudication.missing) return adjudication.showMissing();
  judge({ verdict: "adjudicated", tiers: adjudication.tiers, note: adjudication.note });
}

function step(by) {
  const at = cards.findIndex((card) => card.contains(document.activeElement));
  const to = at < 0 ? 0 : Math.max(0, Math.min(cards.length - 1, at + by));
  cards[to].focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const given = new FormData(form);
  judge({ verdict: "returned", ranking: Number(given.get("ranking")), note: given.get("note") }, ({ sentence }) => {
    const place = form.querySelector("[data-return-refused]");
    place.textContent = sentence;
    place.hidden = false;
  });
});
const note = form.querySelector("textarea");
if (note) {
  note.value = kept.get("returnNote") ?? "";
  note.addEventListener("input", () => kept.set("returnNote", note.value));
}

const clicks = {
  "[data-accept]": accept,
  "[data-next-task]": next,
  "[data-adjudicate]": () => adjudication.begin(),
  "[data-leave]": () => adjudication.leave(),
  "[data-undo]": () => adjudication.undo(),
  "[data-save]": save,
};
review.addEventListener("click", (event) => {
  for (const [selector, action] of Object.entries(clicks)) if (event.target.closest(selector)) action();
  const citation = event.target.closest("a.citation");
  if (citation) {
    event.preventDefault();
    const passage = document.querySelector(citation.getAttribute("href"));
    passage.closest("details").open = true;
    passage.scrollIntoView({ block: "nearest" });
    passage.focus({ preventScroll: true });
    passage.addEventListener("keydown", ({ key }) => key === "Escape" && citation.focus(), { once: true });
  }
});

bindSwitch(document.querySelector("[data-single-keys]"));
listen({
  adjudicating: () => adjudication.active,
  accept,
  next,
  save,
  step: (by) => (adjudication.active ? adjudication.step(by) : step(by)),
  back: () => dialog.showModal(),
  adjudicate: () => adjudication.begin(),
  leave: () => adjudication.leave(),
  undo: () => adjudication.undo(),
  tier: (tier) => adjudication.placeCurrent(tier),
  tie: () => adjudication.tieCurrent(),
  unrank: () => adjudication.unrankCurrent(),
  nudge: (by) => adjudication.nudgeCurrent(by),
  focus: (letter) => adjudication.focusLetter(letter),
  keys: () => document.getElementById("keys").showModal(),
  guidelines: () => document.getElementById("guidelines").showModal(),
});
