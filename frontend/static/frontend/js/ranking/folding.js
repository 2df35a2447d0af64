/**
 * Long texts are cut, with "Show more". Nothing is hidden: a cut text fades where it goes on, screen readers read on, and
 * find in page and Tab, which scroll inside it, open it. Which ones are open is kept with the draft.
 */
const WORTH = 96; // px: what is hardly longer than the cut is not cut
const BESIDE_FROM = "(min-width: 48rem)"; // as in cards.css

export class Folding {
  #open = new Set();
  #width = 0;
  #sizes;

  constructor(task) {
    const { workbench, signal } = task;
    this.task = task;
    this.folds = [...workbench.querySelectorAll("[data-fold]")].map((text) => ({
      text,
      button: workbench.querySelector(`[data-unfolds="${text.id}"]`),
      long: false,
    }));
    this.list = workbench.querySelector("[data-cards]");
    this.all = workbench.querySelector("[data-unfolds-all]");
    workbench.addEventListener("click", ({ target }) => this.#clicked(target), { signal });
    workbench.addEventListener(
      "scroll",
      ({ target }) => {
        if (target.matches?.("[data-folded]") && target.scrollTop > 0) this.#reveal(target);
      },
      { capture: true, passive: true, signal },
    );
    // Another width or layout makes other heights.
    this.#sizes = new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width === this.#width) return;
      this.#width = contentRect.width;
      this.measure();
    });
    this.#sizes.observe(this.list);
  }

  restore({ unfolded = [] }) {
    this.#open = new Set(unfolded);
    this.measure();
  }

  save() {
    return { unfolded: [...this.#open] };
  }

  /** Finds out which texts are long. */
  measure() {
    const beside = this.list.dataset.layout === "beside" && matchMedia(BESIDE_FROM).matches;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    for (const fold of this.folds) {
      // Cards side by side scroll inside themselves.
      const whole = beside && this.list.contains(fold.text);
      fold.long = !whole && fold.text.scrollHeight > parseFloat(getComputedStyle(fold.text).getPropertyValue("--fold")) * rem + WORTH;
    }
    this.#draw();
  }

  end() {
    this.#sizes.disconnect();
  }

  #clicked(target) {
    const button = target.closest("button");
    if (button === this.all && button) {
      const ids = this.folds.filter(({ long, text }) => long && this.list.contains(text)).map(({ text }) => text.id);
      const open = !ids.every((id) => this.#open.has(id));
      for (const id of ids) this.#set(id, open);
    } else if (button?.dataset.unfolds) {
      this.#set(button.dataset.unfolds, !this.#open.has(button.dataset.unfolds));
      // Folded from its end, a text would leave the reader somewhere below it.
      if (!this.#open.has(button.dataset.unfolds)) button.scrollIntoView({ block: "nearest" });
    } else if (button?.dataset.layoutIs) {
      this.measure();
      return;
    } else return;
    this.#draw();
    this.task.keep();
  }

  #set(id, open) {
    if (open) this.#open.add(id);
    else this.#open.delete(id);
  }

  /** Something inside it was scrolled to: open it, and go on showing that. */
  #reveal(text) {
    const hidden = text.scrollTop;
    this.#open.add(text.id);
    this.#draw();
    scrollBy({ top: hidden, behavior: "instant" });
    this.task.keep();
  }

  #draw() {
    for (const { text, button, long } of this.folds) {
      const open = this.#open.has(text.id);
      text.toggleAttribute("data-folded", long && !open);
      button.hidden = !long;
      button.setAttribute("aria-expanded", open);
      button.querySelector("[data-unfold-word]").textContent = open ? "Show less" : "Show more";
    }
    const long = this.folds.filter((fold) => fold.long && this.list.contains(fold.text));
    this.all.hidden = long.length === 0;
    this.all.setAttribute("aria-pressed", long.length > 0 && long.every(({ text }) => this.#open.has(text.id)));
  }
}
