// The reviewer's own order of the responses: begun, left and saved. It is kept in this tab meanwhile.
import { Tiers } from "../ranking/tiers.js";

export class Adjudication {
  active = false;
  #current;

  /** `announce(sentence)` for screen readers. */
  constructor(review, kept, announce) {
    this.review = review;
    this.kept = kept;
    this.announce = announce;
    this.cards = new Map([...review.querySelectorAll("[data-response]")].map((card) => [Number(card.dataset.response), card]));
    this.order = new Tiers([...this.cards.keys()], { ties: "ties" in review.dataset });
    this.order.load(kept.get("tiers") ?? {});
    this.yours = review.querySelector("[data-yours]");
    this.noteField = this.yours.querySelector("textarea");
    this.noteField.value = kept.get("note") ?? "";
    this.noteField.addEventListener("input", () => kept.set("note", this.noteField.value));
    for (const [number, card] of this.cards) {
      for (const button of card.querySelectorAll("[data-tier]")) {
        button.addEventListener("click", () => {
          const tier = Number(button.dataset.tier);
          this.#placed(number, this.order.place(number, this.order.of(number) === tier ? 0 : tier));
        });
      }
      card.addEventListener("focusin", () => this.active && this.#mark(number));
      card.addEventListener("click", ({ target }) => this.active && !target.closest("button, a") && this.#focus(number));
    }
    if (kept.get("tiers")) this.begin();
  }

  /** What is submitted. */
  get tiers() {
    return this.order.lists;
  }

  get note() {
    return this.noteField.value;
  }

  /** Why it cannot be saved yet, and the response that it is about; null if it can. */
  get missing() {
    const { ranked, numbers } = this.order;
    if (ranked.length === numbers.length) return null;
    const number = numbers.find((one) => this.order.of(one) === 0);
    if (!("partial" in this.review.dataset)) return { sentence: `Response ${this.#letter(number)} has no tier yet.`, number };
    return ranked.length < 2 ? { sentence: "Order at least two responses.", number } : null;
  }

  begin() {
    if (!this.active) this.#show(true);
    this.announce("Give the right order: digits put the response into a tier.");
    const { numbers } = this.order;
    this.#focus(numbers.find((number) => this.order.of(number) === 0) ?? numbers[0]);
  }

  /** Back to reading; what was ordered stays until the page is left. */
  leave() {
    if (!this.active) return;
    this.#show(false);
    this.#mark(null);
    this.announce("Left. Your order was not saved.");
    this.review.querySelector("[data-adjudicate]").focus();
  }

  placeCurrent(tier) {
    if (tier > this.order.numbers.length) return this.announce(`There are ${this.order.numbers.length} tiers.`);
    this.#placed(this.#current, this.order.place(this.#current, tier));
    this.#advance();
  }

  tieCurrent() {
    if (this.order.tie(this.#current)) {
      this.#placed(this.#current, true);
      this.#advance();
    } else {
      this.announce(this.order.ties ? "There is no response placed before this one to tie with." : "This project asks for an order without ties.");
    }
  }

  unrankCurrent() {
    this.#placed(this.#current, this.order.place(this.#current, 0));
  }

  nudgeCurrent(by) {
    this.#placed(this.#current, this.order.nudge(this.#current, by));
  }

  undo() {
    if (!this.active || !this.order.undo()) return;
    this.#changed("Undone.");
  }

  step(by) {
    const { numbers } = this.order;
    this.#focus(numbers[Math.max(0, Math.min(numbers.length - 1, numbers.indexOf(this.#current) + by))]);
  }

  focusLetter(letter) {
    const number = this.order.numbers.find((one) => this.#letter(one) === letter);
    if (number !== undefined) this.#focus(number);
  }

  showMissing() {
    this.announce(this.missing.sentence);
    this.#focus(this.missing.number);
  }

  #show(active) {
    this.active = active;
    for (const element of this.review.querySelectorAll("[data-tier-buttons], [data-yours], [data-when=adjudicating]")) element.hidden = !active;
    this.review.querySelector("[data-when=reading]").hidden = active;
    this.#draw();
  }

  #placed(number, changed) {
    this.#mark(number);
    if (changed) this.#changed(`Response ${this.#letter(number)}: ${this.#standing(number)}.`);
  }

  #changed(sentence) {
    this.kept.set("tiers", this.order.save());
    this.#draw();
    this.announce(sentence);
  }

  #draw() {
    for (const [number, card] of this.cards) {
      const tier = this.order.of(number);
      card.toggleAttribute("data-ranked", this.active && tier > 0);
      card.querySelector("[data-standing]").textContent = this.active ? this.#standing(number) : "";
      for (const button of card.querySelectorAll("[data-tier]")) button.setAttribute("aria-pressed", Number(button.dataset.tier) === tier);
    }
    this.yours.querySelector("[data-line]").replaceChildren(...this.order.lists.map((tier) => this.#drawnTier(tier)));
    this.yours.querySelector("[data-count]").textContent = `${this.order.ranked.length} of ${this.order.numbers.length} in order`;
    this.review.querySelector("[data-undo]").disabled = !this.order.canUndo;
    this.review.querySelector("[data-save]").setAttribute("aria-disabled", this.missing !== null);
  }

  #drawnTier(numbers) {
    const tier = Object.assign(document.createElement("span"), { className: "line__tier" });
    tier.append(
      ...numbers
        .map((number) => this.#letter(number))
        .sort()
        .map((letter) => Object.assign(document.createElement("span"), { className: "letter letter--small", textContent: letter })),
    );
    return tier;
  }

  #standing(number) {
    const tier = this.order.of(number);
    if (tier === 0) return "no tier yet";
    const others = this.order.in(tier).filter((other) => other !== number).map((other) => this.#letter(other));
    return others.length ? `tier ${tier}, tied with ${others.join(", ")}` : `tier ${tier}`;
  }

  #letter(number) {
    return this.cards.get(number).dataset.letter;
  }

  #advance() {
    const { numbers } = this.order;
    const at = numbers.indexOf(this.#current);
    const next = [...numbers.slice(at + 1), ...numbers.slice(0, at)].find((number) => this.order.of(number) === 0);
    if (next !== undefined) this.#focus(next);
  }

  #focus(number) {
    this.#mark(number);
    const card = this.cards.get(number);
    if (card.contains(document.activeElement)) return;
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest" });
  }

  #mark(number) {
    if (number !== null) this.#current = number;
    for (const [other, card] of this.cards) card.toggleAttribute("data-current", other === number);
  }
}
