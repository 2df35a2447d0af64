// How much better a tier is than the next, where the project asks. What was said belongs to the two tiers that it was
// said of: it counts while they stand next to each other, holding what they held.
export class Strength {
  #said = {};
  #counting = null;
  #controls = new Map();

  constructor(task) {
    this.task = task;
    this.list = task.workbench.querySelector("[data-strengths]");
    this.template = this.list?.querySelector("template");
    task.workbench.addEventListener("click", ({ target }) => {
      const button = target.closest("[data-strength] button");
      if (!button) return;
      const neighbours = this.#neighbours.find(({ name }) => this.#controls.get(name).contains(button));
      const step = Number(button.dataset.step);
      this.#say(neighbours, this.#said[neighbours.name] === step ? 0 : step);
    }, { signal: task.signal });
  }

  /** One step more for the current response's tier over the next; after the last step, none. */
  cycle() {
    if (!this.template) return;
    const neighbours = this.#neighbours;
    const here = (tier) => tier.includes(this.task.current);
    const found = neighbours.find(({ above }) => here(above)) ?? neighbours.find(({ below }) => here(below));
    if (!found) this.task.announce("Rank responses into two tiers first, then say how much better one is.");
    else this.#say(found, ((this.#said[found.name] ?? 0) + 1) % (this.#steps.length + 1));
  }

  restore({ strengths = {} }) {
    this.#said = { ...strengths };
  }

  save() {
    const names = this.#neighbours.map(({ name }) => name).filter((name) => name in this.#said);
    return { strengths: Object.fromEntries(names.map((name) => [name, this.#said[name]])) };
  }

  get answer() {
    if (!this.template) return {};
    const steps = this.#neighbours.map(({ name }) => this.#said[name] ?? null);
    return { strengths: steps.some((step) => step !== null) ? steps : null };
  }

  /** What no longer counts, and what does again, in sentences. */
  moved() {
    if (!this.template) return "";
    this.#draw();
    const before = this.#counting;
    this.#counting = Object.keys(this.save().strengths);
    if (before === null) return "";
    const gone = before.filter((name) => !this.#counting.includes(name));
    const back = this.#counting.filter((name) => !before.includes(name));
    return [
      ...gone.map((name) => `“${this.#told(name)}” no longer counts.`),
      ...back.map((name) => `“${this.#told(name)}” counts again.`),
    ].join(" ");
  }

  lock(locked) {
    for (const button of this.task.workbench.querySelectorAll("[data-strength] button")) button.disabled = locked;
  }

  get #steps() {
    return [...this.template.content.querySelectorAll("button")].map((button) => button.textContent);
  }

  /** Each two tiers that hold something and nothing between them. The server names them alike when it gives an answer back. */
  get #neighbours() {
    const { lists } = this.task.tiers;
    return lists.slice(1).map((below, index) => ({ above: lists[index], below, name: `${named(lists[index])}>${named(below)}` }));
  }

  #say({ name, above, below }, step) {
    if (step) this.#said[name] = step;
    else delete this.#said[name];
    this.#counting = Object.keys(this.save().strengths);
    this.#draw();
    this.task.keep();
    this.task.announce(step ? `${this.#told(name)}.` : `${this.#letters(above)} over ${this.#letters(below)}: left open.`);
  }

  /** One control for each two neighbours, in their order. One that stays is not moved, so that it keeps the focus. */
  #draw() {
    const neighbours = this.#neighbours;
    const names = neighbours.map(({ name }) => name);
    for (const [name, control] of this.#controls) {
      if (names.includes(name)) continue;
      control.remove();
      this.#controls.delete(name);
    }
    let before = this.template;
    for (const { name, above, below } of neighbours) {
      if (!this.#controls.has(name)) this.#controls.set(name, this.#made(above, below));
      const control = this.#controls.get(name);
      for (const button of control.querySelectorAll("button")) button.setAttribute("aria-pressed", Number(button.dataset.step) === this.#said[name]);
      if (before.nextElementSibling !== control) before.after(control);
      before = control;
    }
    this.list.hidden = neighbours.length === 0;
  }

  #made(above, below) {
    const control = this.template.content.firstElementChild.cloneNode(true);
    control.setAttribute("aria-label", `How much better ${this.#letters(above)} is than ${this.#letters(below)}`);
    control.querySelector("[data-of]").textContent = `${this.#letters(above)} over ${this.#letters(below)}`;
    return control;
  }

  #told(name) {
    const [above, below] = name.split(">").map((tier) => this.#letters(tier.split(",").map(Number)));
    return `${above} ${this.#steps[this.#said[name] - 1]} better than ${below}`;
  }

  #letters(tier) {
    return tier.map((number) => this.task.board.letter(number)).sort().join(", ");
  }
}

function named(tier) {
  return [...tier].sort((one, other) => one - other).join(",");
}
