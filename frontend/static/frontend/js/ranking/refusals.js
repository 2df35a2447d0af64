// Answers that the server did not take: which task, why, and what was given, so that nothing a person made is lost.
import { noticeBox } from "./notices.js";
import { skipInWords } from "./troubles.js";

/** Where refused answers are told. `back(entry)` goes to a task that is still this annotator's. */
export class Refusals {
  #drawn = "";

  constructor({ area, dialog, project, outbox, back }) {
    Object.assign(this, { area, dialog, project, outbox, back });
  }

  draw() {
    const refusals = this.outbox.refusals;
    const keys = refusals.map(({ key }) => key).join();
    if (keys === this.#drawn) return; // what is drawn again is read aloud again
    this.#drawn = keys;
    this.area.replaceChildren(...refusals.map((entry) => this.#box(entry)));
  }

  #box(entry) {
    if (entry.kind === "skip") return noticeBox(skipInWords(entry, entry.refusal.code), "info", [["Dismiss", () => this.outbox.dismiss(entry.key)]]);
    const what = entry.kind === "amend" ? "Your change of the answer" : "Your answer";
    const why = entry.refusal.sentence.replace(/ Take the next task\.$/, "");
    const buttons = [["Look at it", () => this.#show(entry)]];
    const isStillTheirs = entry.refusal.code === "invalid" && entry.kind === "submit" && entry.project === this.project;
    if (isStillTheirs) buttons.push(["Go back to it", () => this.back(entry)]);
    buttons.push(["Dismiss", () => this.outbox.dismiss(entry.key)]);
    return noticeBox(`${what} to “${entry.title}” was not taken. ${why} What you gave is still in this browser.`, "danger", buttons);
  }

  #show({ title, tiers, letters, body }) {
    const parts = [element("dt", "Prompt"), element("dd", title)];
    tiers.forEach((responses, index) => {
      parts.push(element("dt", `Tier ${index + 1}`), element("dd", responses.join("\n")));
    });
    const { lease, tiers: numbers, seconds, ...rest } = body;
    for (const [name, value] of Object.entries(rest)) {
      const said = inWords(value, letters);
      if (said) parts.push(element("dt", name[0].toUpperCase() + name.slice(1).replaceAll("_", " ")), element("dd", said));
    }
    this.dialog.querySelector("[data-answer]").replaceChildren(...parts);
    this.dialog.showModal();
  }
}

/** What an entry of the outbox tells of its task: the prompt's beginning, the letters of the responses, and those of each tier with their beginnings. */
export function described(workbench, tiers) {
  const asked = [...workbench.querySelectorAll(".turn--user .prose")].at(-1) ?? workbench.querySelector(".asked");
  const cards = new Map([...workbench.querySelectorAll("[data-response]")].map((card) => [Number(card.dataset.response), card]));
  const letters = Object.fromEntries([...cards].map(([number, card]) => [number, card.dataset.letter]));
  const said = (number) => `${letters[number]}: ${beginning(cards.get(number).querySelector(".response__text"), 160)}`;
  return { title: beginning(asked, 80), letters, tiers: tiers.map((tier) => tier.map(said)) };
}

function beginning(node, length) {
  const text = node.textContent.trim().replace(/\s+/g, " ");
  return text.length > length ? `${text.slice(0, length - 1).trimEnd()}…` : text;
}

/** Whatever else belongs to an answer, readable: its texts are what a person would miss. Numbers of responses become their letters. */
function inWords(value, letters) {
  if (value === null || value === undefined || value === "") return "";
  if (typeof value !== "object") return String(value);
  const each = Object.entries(value).map(([name, part]) => [Array.isArray(value) ? "" : `${letters[name] ?? name}: `, inWords(part, letters)]);
  return each.filter(([, said]) => said).map(([name, said]) => name + said).join("\n");
}

function element(name, text) {
  return Object.assign(document.createElement(name), { textContent: text });
}
