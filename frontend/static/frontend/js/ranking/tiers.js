/**
 * Which response stands in which tier. Pure: knows nothing of the page.
 *
 * Tiers are numbered from 1 (best) to as many as there are responses; 0 is "not ranked". Without ties a tier holds
 * one response, and placing a second one pushes the first aside.
 */
export class Tiers {
  #tiers;
  #past = [];
  #last = null;

  constructor(numbers, { ties }) {
    this.numbers = numbers;
    this.ties = ties;
    this.#tiers = new Map(numbers.map((number) => [number, 0]));
  }

  of(number) {
    return this.#tiers.get(number);
  }

  in(tier) {
    return this.numbers.filter((number) => this.of(number) === tier);
  }

  get ranked() {
    return this.numbers.filter((number) => this.of(number) > 0);
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  /** The tiers that hold something, best first: what is submitted. */
  get lists() {
    return this.numbers.map((_, index) => this.in(index + 1)).filter((tier) => tier.length);
  }

  place(number, tier) {
    const target = Math.max(0, Math.min(this.numbers.length, tier));
    if (this.of(number) === target) return false;
    this.#remember();
    this.#tiers.set(number, 0);
    if (target > 0 && !this.ties && this.in(target).length) this.#makeRoom(target);
    this.#tiers.set(number, target);
    this.#last = target > 0 ? number : this.#last === number ? null : this.#last;
    return true;
  }

  /** One tier up (-1) or down (+1). What is not ranked comes in at the bottom. Without ties, neighbours change places. */
  nudge(number, by) {
    const from = this.of(number);
    if (from === 0) return by < 0 && this.place(number, this.numbers.length);
    const to = from + by;
    if (to < 1 || to > this.numbers.length) return false;
    const [neighbour] = this.ties ? [] : this.in(to);
    if (neighbour === undefined) return this.place(number, to);
    this.#remember();
    this.#tiers.set(number, to).set(neighbour, from);
    return true;
  }

  /**
   * Into the tier of the response that was placed last; where that is not known, since the task was come back to, of the
   * ranked one that stands before it on the page. False if there is none, or if ties are not allowed.
   */
  tie(number) {
    const before = this.numbers.slice(0, this.numbers.indexOf(number)).findLast((other) => this.of(other) > 0);
    const partner = this.#last ?? before;
    if (!this.ties || partner === undefined || partner === number) return false;
    return this.place(number, this.of(partner));
  }

  undo() {
    const [tiers, last] = this.#past.pop() ?? [];
    if (!tiers) return false;
    this.#tiers = tiers;
    this.#last = last;
    return true;
  }

  save() {
    return Object.fromEntries(this.#tiers);
  }

  load(saved) {
    for (const number of this.numbers) {
      const tier = saved[number];
      if (Number.isInteger(tier) && tier >= 0 && tier <= this.numbers.length) this.#tiers.set(number, tier);
    }
  }

  #remember() {
    this.#past.push([new Map(this.#tiers), this.#last]);
  }

  /** Push what stands in the tier towards the nearest empty one, downwards if there is one. */
  #makeRoom(tier) {
    let free = tier;
    while (free <= this.numbers.length && this.in(free).length) free += 1;
    const step = free <= this.numbers.length ? -1 : 1;
    if (step === 1) {
      free = tier;
      while (this.in(free).length) free -= 1;
    }
    for (let at = free; at !== tier; at += step) {
      for (const number of this.in(at + step)) this.#tiers.set(number, at);
    }
  }
}
