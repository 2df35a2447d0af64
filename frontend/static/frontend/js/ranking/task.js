// One task on the page: what the annotator does to it, until it is submitted, skipped, given back or lost.
// A ranking that is being changed is theirs already: it has no lease.
import { Board } from "./board.js";
import { Draft } from "./draft.js";
import { Lease } from "./lease.js";
import { PARTS } from "./parts.js";
import { Reading } from "./reading.js";
import { Tiers } from "./tiers.js";

const IDLE_AFTER = 60_000;

export class Task {
  #current;
  #ending = new AbortController();
  #ticking;
  #activeAt = performance.now();

  /** `announce(sentence)` for screen readers; `lost(refusal)` and `warn(sentence)` as of Lease. */
  constructor(workbench, user, { announce, lost, warn }) {
    const { assignment, revision, draft, lease, secondsLeft, renew, renewWithin } = workbench.dataset;
    this.workbench = workbench;
    this.announce = announce;
    const numbers = [...workbench.querySelectorAll("[data-response]")].map((card) => Number(card.dataset.response));
    this.tiers = new Tiers(numbers, { ties: "ties" in workbench.dataset });
    this.board = new Board(workbench, this.tiers, { moved: (number, tier) => this.place(number, tier), signal: this.signal });
    this.storage = new Draft(user, assignment, revision);
    this.draft = this.storage.load(draft && JSON.parse(draft));
    this.lease = lease && new Lease({
      url: renew,
      lease,
      left: Number(secondsLeft),
      seconds: Number(renewWithin),
      clock: workbench.querySelector("[data-clock]"),
      lost,
      warn,
    });
    this.parts = PARTS.map((Part) => new Part(this));
    this.#restore();
    this.#listen();
    // The page stays at its top, where the prompt is: on a phone the first card lies far below it.
    this.#focus(this.tiers.numbers.find((number) => this.tiers.of(number) === 0) ?? numbers[0], { scroll: false });
  }

  get current() {
    return this.#current;
  }

  /** Ends with the task, and whatever listens with it. */
  get signal() {
    return this.#ending.signal;
  }

  part(Part) {
    return this.parts.find((part) => part instanceof Part);
  }

  /** What is submitted, but for the submission's own key. */
  get answer() {
    return Object.assign(
      { lease: this.workbench.dataset.lease, tiers: this.tiers.lists, seconds: this.draft.seconds },
      ...this.parts.map((part) => part.answer),
    );
  }

  /** Why it cannot be submitted yet, and the response that it is about; null if it can. */
  get missing() {
    const { ranked, numbers } = this.tiers;
    const open = numbers.find((number) => this.tiers.of(number) === 0);
    if (open !== undefined && !("partial" in this.workbench.dataset)) return { sentence: `Response ${this.board.letter(open)} is not ranked yet.`, number: open };
    if (ranked.length < 2) return { sentence: "Rank at least two responses.", number: open };
    return this.parts.map((part) => part.missing).find(Boolean) ?? null;
  }

  place(number, tier) {
    // By hand, at a place that is in sight.
    this.#focus(number, { scroll: false });
    this.#move(() => this.tiers.place(number, tier));
  }

  /** The current one into a tier, then on to the next that has none. */
  placeCurrent(tier) {
    if (tier > this.tiers.numbers.length) this.announce(`There are ${this.tiers.numbers.length} tiers.`);
    else this.#move(() => this.tiers.place(this.#current, tier), { then: () => this.#advance() });
  }

  tieCurrent() {
    if (!this.tiers.ties) this.announce("This project asks for an order without ties.");
    else if (!this.#move(() => this.tiers.tie(this.#current), { then: (moved) => moved && this.#advance() })) this.announce("There is no response placed before this one to tie with.");
  }

  unrankCurrent() {
    this.#move(() => this.tiers.place(this.#current, 0));
  }

  nudgeCurrent(by) {
    if (!this.#move(() => this.tiers.nudge(this.#current, by))) this.announce(this.#told(this.#current));
  }

  undo() {
    this.#move(() => this.tiers.undo(), { told: "Undone." });
  }

  step(by) {
    const { order } = this.part(Reading);
    this.#focus(order[Math.max(0, Math.min(order.length - 1, order.indexOf(this.#current) + by))]);
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
    this.#activeAt = performance.now();
    this.lease?.active();
  }

  /** Keep what was done so far in this browser. */
  keep() {
    Object.assign(this.draft, { tiers: this.tiers.save() }, ...this.parts.map((part) => part.save?.()));
    this.storage.save(this.draft);
    this.#offer();
  }

  /** Nothing can be changed while what ends the task is on its way. */
  lock(locked) {
    this.board.lock(locked);
    for (const part of this.parts) part.lock?.(locked);
  }

  end() {
    this.#ending.abort();
    clearInterval(this.#ticking);
    for (const part of this.parts) part.end?.();
    this.lease?.end();
    this.board.end();
  }

  #restore() {
    this.tiers.load(this.draft.tiers);
    for (const part of this.parts) part.restore?.(this.draft);
    this.#drawn();
  }

  #listen() {
    const { signal } = this;
    this.workbench.addEventListener("input", () => this.keep(), { signal });
    // Whatever is clicked or tabbed into inside a response makes it the current one.
    this.workbench.addEventListener("focusin", ({ target }) => {
      const card = target.closest("[data-response]");
      if (card) this.#mark(Number(card.dataset.response));
    }, { signal });
    this.workbench.addEventListener("click", ({ target }) => {
      const card = target.closest("[data-response], [data-chip]");
      if (card && !target.closest("button, a, label")) this.#focus(Number(card.dataset.response ?? card.dataset.chip));
      if (target.closest("[data-undo]")) this.undo();
    }, { signal });
    this.#ticking = setInterval(() => {
      if (document.visibilityState !== "visible" || performance.now() - this.#activeAt > IDLE_AFTER) return;
      this.draft.seconds += 1;
    }, 1000);
  }

  #told(number) {
    return `Response ${this.board.letter(number)}: ${this.board.standing(number)}.`;
  }

  /** Keeps, draws and tells what `change` did, if it did anything, which it returns; `then(moved)` may go on to another response. */
  #move(change, { told, then } = {}) {
    let moved = false;
    this.part(Reading).holding(() => {
      moved = change();
      if (moved) {
        this.keep();
        this.announce([told ?? this.#told(this.#current), ...this.#drawn()].join(" "));
      }
      then?.(moved);
    });
    return moved;
  }

  /** Draws the ranking. Returns what the parts say of its change. */
  #drawn() {
    this.board.draw();
    const told = this.parts.map((part) => part.moved?.()).filter(Boolean);
    this.#offer();
    return told;
  }

  #offer() {
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
    for (const part of this.parts) part.focused?.();
  }
}
