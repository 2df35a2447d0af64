// One task on the page: what the annotator does to it, until it is submitted, skipped, given back or lost.
// A ranking that is being changed is theirs already: it has no lease.
import { Board } from "./board.js";
import { Draft } from "./draft.js";
import { Lease } from "./lease.js";
import { Tiers } from "./tiers.js";

const IDLE_AFTER = 60_000;

export class Task {
  #current;
  #ticking;
  #activeAt = Date.now();

  /** `announce(sentence)` for screen readers; `lost(refusal)` and `warn(sentence)` as of Lease. */
  constructor(workbench, user, { announce, lost, warn }) {
    const { assignment, revision, draft, lease, until, renew, renewWithin } = workbench.dataset;
    this.workbench = workbench;
    this.announce = announce;
    this.rationale = workbench.querySelector("#rationale");
    const numbers = [...workbench.querySelectorAll("[data-response]")].map((card) => Number(card.dataset.response));
    this.tiers = new Tiers(numbers, { ties: "ties" in workbench.dataset });
    this.board = new Board(workbench, this.tiers, (number, tier) => this.place(number, tier));
    this.storage = new Draft(user, assignment, revision);
    this.draft = this.storage.load(draft && JSON.parse(draft));
    this.lease = lease && new Lease({
      url: renew,
      lease,
      until,
      seconds: Number(renewWithin),
      clock: workbench.querySelector("[data-clock]"),
      lost,
      warn,
    });
    this.#restore();
    this.#listen();
    // The page stays at its top, where the prompt is: on a phone the first card lies far below it.
    this.#focus(this.tiers.numbers.find((number) => this.tiers.of(number) === 0) ?? numbers[0], { scroll: false });
  }

  get current() {
    return this.#current;
  }

  /** What is submitted, but for the submission's own key. */
  get answer() {
    return {
      lease: this.workbench.dataset.lease,
      tiers: this.tiers.lists,
      ratings: this.draft.ratings,
      rationale: this.draft.rationale,
      seconds: this.draft.seconds,
    };
  }

  /** Why it cannot be submitted yet, and the response that it is about; null if it can. */
  get missing() {
    const { ranked, numbers } = this.tiers;
    const open = numbers.find((number) => this.tiers.of(number) === 0);
    if (ranked.length === numbers.length) return null;
    if (!("partial" in this.workbench.dataset)) return { sentence: `Response ${this.board.letter(open)} is not ranked yet.`, number: open };
    if (ranked.length < 2) return { sentence: "Rank at least two responses.", number: open };
    return null;
  }

  place(number, tier) {
    this.#focus(number);
    if (this.tiers.place(number, tier)) this.#changed(this.#told(number));
  }

  /** The current one into a tier, then on to the next that has none. */
  placeCurrent(tier) {
    if (tier > this.tiers.numbers.length) {
      this.announce(`There are ${this.tiers.numbers.length} tiers.`);
      return;
    }
    const number = this.#current;
    if (this.tiers.place(number, tier)) this.#changed(this.#told(number));
    this.#advance();
  }

  tieCurrent() {
    const number = this.#current;
    if (this.tiers.tie(number)) {
      this.#changed(this.#told(number));
      this.#advance();
    } else {
      this.announce(this.tiers.ties ? "There is no response placed before this one to tie with." : "This project asks for an order without ties.");
    }
  }

  unrankCurrent() {
    const number = this.#current;
    if (this.tiers.place(number, 0)) this.#changed(this.#told(number));
  }

  nudgeCurrent(by) {
    const number = this.#current;
    if (this.tiers.nudge(number, by)) this.#changed(this.#told(number));
    else this.announce(this.#told(number));
  }

  undo() {
    if (this.tiers.undo()) this.#changed("Undone.");
  }

  step(by) {
    const { numbers } = this.tiers;
    this.#focus(numbers[Math.max(0, Math.min(numbers.length - 1, numbers.indexOf(this.#current) + by))]);
  }

  focusLetter(letter) {
    const number = this.tiers.numbers.find((one) => this.board.letter(one) === letter);
    if (number !== undefined) this.#focus(number);
  }

  showMissing() {
    this.announce(this.missing.sentence);
    this.#focus(this.missing.number);
  }

  active() {
    this.#activeAt = Date.now();
    this.lease?.active();
  }

  end() {
    clearInterval(this.#ticking);
    this.lease?.end();
    this.board.destroy();
  }

  #restore() {
    this.tiers.load(this.draft.tiers);
    this.rationale.value = this.draft.rationale;
    if (this.draft.rationale) this.rationale.closest("details").open = true;
    for (const input of this.workbench.querySelectorAll("[data-aspect]")) {
      input.checked = this.draft.ratings[input.dataset.aspect]?.[input.dataset.number] === Number(input.value);
    }
    this.#drawn();
  }

  #listen() {
    this.workbench.addEventListener("input", ({ target }) => {
      if (target === this.rationale) this.draft.rationale = target.value;
      const { aspect, number } = target.dataset;
      if (aspect) (this.draft.ratings[aspect] ??= {})[number] = Number(target.value);
      this.storage.save(this.draft);
    });
    // Whatever is clicked or tabbed into inside a response makes it the current one.
    this.workbench.addEventListener("focusin", ({ target }) => {
      const card = target.closest("[data-response]");
      if (card) this.#mark(Number(card.dataset.response));
    });
    this.workbench.addEventListener("click", ({ target }) => {
      const card = target.closest("[data-response], [data-chip]");
      if (card && !target.closest("button, a, label")) this.#focus(Number(card.dataset.response ?? card.dataset.chip));
      if (target.closest("[data-undo]")) this.undo();
    });
    this.#ticking = setInterval(() => {
      if (document.visibilityState !== "visible" || Date.now() - this.#activeAt > IDLE_AFTER) return;
      this.draft.seconds += 1;
    }, 1000);
  }

  #told(number) {
    return `Response ${this.board.letter(number)}: ${this.board.standing(number)}.`;
  }

  #changed(sentence) {
    this.draft.tiers = this.tiers.save();
    this.storage.save(this.draft);
    this.#drawn();
    this.announce(sentence);
  }

  #drawn() {
    this.board.draw();
    this.workbench.querySelector("[data-submit-button]").setAttribute("aria-disabled", this.missing !== null);
  }

  #advance() {
    const { numbers } = this.tiers;
    const at = numbers.indexOf(this.#current);
    const next = [...numbers.slice(at + 1), ...numbers.slice(0, at)].find((number) => this.tiers.of(number) === 0);
    if (next !== undefined) this.#focus(next);
  }

  #focus(number, { scroll = true } = {}) {
    this.#mark(number);
    const card = this.board.cards.get(number);
    if (!card.contains(document.activeElement)) {
      card.focus({ preventScroll: true });
      if (scroll) card.scrollIntoView({ block: "nearest" });
    }
  }

  #mark(number) {
    this.#current = number;
    for (const [other, card] of this.board.cards) {
      card.toggleAttribute("data-current", other === number);
      card.tabIndex = other === number ? 0 : -1;
    }
    for (const [other, chip] of this.board.chips) chip.toggleAttribute("data-current", other === number);
  }
}
