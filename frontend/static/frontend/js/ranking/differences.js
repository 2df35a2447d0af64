// Differences: every response word by word against the current one, in the browser, on the text as it is shown.
import { shared } from "./diff.js";
import { mark, wordsOf } from "./words.js";

export class Differences {
  #on = false;
  #from = null;
  #unmark = [];
  #words = new Map();
  #flags = new Map();

  constructor(task) {
    this.task = task;
    this.button = task.workbench.querySelector("[data-differences]");
    this.button.addEventListener("click", () => this.toggle(), { signal: task.signal });
  }

  toggle() {
    const { task } = this;
    this.#on = !this.#on;
    this.#holding(() => this.#draw());
    task.announce(this.#on ? this.#told() : "Differences are off.");
  }

  focused() {
    if (this.#on && this.#from !== this.task.current) this.#draw();
  }

  /** The texts were drawn anew. */
  refresh() {
    this.#clear();
    this.#words.clear();
    this.#flags.clear();
    if (this.#on) this.#draw();
  }

  end() {
    this.#clear();
  }

  #draw() {
    this.#clear();
    const { workbench, board, current } = this.task;
    workbench.toggleAttribute("data-differing", this.#on);
    this.button.setAttribute("aria-pressed", this.#on);
    if (!this.#on) return;
    this.#from = current;
    for (const [number, card] of board.cards) {
      if (number === current) {
        card.querySelector("[data-difference]").textContent = "the others are compared with it";
        continue;
      }
      this.#unmark.push(mark(this.#wordsOf(number), this.#flagsOf(number)));
      card.querySelector("[data-difference]").textContent = this.#difference(number);
    }
  }

  #clear() {
    for (const unmark of this.#unmark) unmark();
    this.#unmark = [];
    this.#from = null;
    for (const note of this.task.workbench.querySelectorAll("[data-difference]")) note.textContent = "";
  }

  #wordsOf(number) {
    let words = this.#words.get(number);
    if (!words) this.#words.set(number, (words = wordsOf(this.task.board.cards.get(number).querySelector(".response__text"))));
    return words;
  }

  #flagsOf(number) {
    const pair = `${this.#from}:${number}`;
    let flags = this.#flags.get(pair);
    if (!flags) {
      const [theirs, ours] = [this.#from, number].map((each) => this.#wordsOf(each).map(({ text }) => text));
      this.#flags.set(pair, (flags = shared(theirs, ours)));
    }
    return flags;
  }

  /** "40 of 120 words differ from A" */
  #difference(number) {
    const spoken = this.#wordsOf(number).map((word, index) => [word.spoken, this.#flagsOf(number)[index]]).filter(([word]) => word);
    const differing = spoken.filter(([, flag]) => !flag).length;
    const letter = this.task.board.letter(this.#from);
    return differing ? `${differing} of ${spoken.length} words differ from ${letter}` : `the same words as ${letter}`;
  }

  #told() {
    const { board } = this.task;
    const others = [...board.cards.keys()].filter((number) => number !== this.#from);
    return `Differences are on. ${others.map((number) => `${board.letter(number)}: ${this.#difference(number)}.`).join(" ")}`;
  }

  /** Long texts open, or close again, above what is being read. */
  #holding(change) {
    const card = this.task.board.cards.get(this.task.current);
    const before = card.getBoundingClientRect().top;
    change();
    scrollBy({ top: card.getBoundingClientRect().top - before, behavior: "instant" });
  }
}
