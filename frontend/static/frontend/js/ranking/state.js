// What the page says of the annotator's progress and of answers that wait to be sent, wherever the shown task has room for it.
const QUIETLY = 1_500;

export class State {
  #done;
  #lately = null;
  #trouble = false;
  #timer;

  /** `done`: tasks of the project ranked so far; `mayUndo()`: whether there is a submit to undo. */
  constructor(holder, outbox, { project, done, mayUndo }) {
    Object.assign(this, { holder, outbox, project, mayUndo });
    this.#done = done;
  }

  /** What the server counts; `lately` is null where it was not asked for. */
  progressed({ done, lately }) {
    this.#done = done;
    this.#lately = lately ?? this.#lately;
    this.draw();
  }

  /** Answers wait for longer than a moment. Returns whether this was not known. */
  troubled() {
    const before = this.#trouble;
    this.#trouble = true;
    this.draw();
    return !before;
  }

  draw() {
    clearTimeout(this.#timer);
    const { waiting } = this.outbox;
    this.#trouble &&= waiting.length > 0;
    this.#drawDone(waiting.filter(({ kind, project }) => kind === "submit" && project === this.project).length);
    this.#drawWaiting(waiting);
    for (const button of this.holder.querySelectorAll("[data-undo-submit]")) button.hidden = !this.mayUndo();
  }

  #drawDone(more) {
    const place = this.holder.querySelector("[data-progress]");
    if (!place) return;
    const today = this.#lately === null ? "" : `, ${(this.#lately + more).toLocaleString("en")} today`;
    place.textContent = `${(this.#done + more).toLocaleString("en")} done by you${today}`;
  }

  /** Most answers are on their way for a moment only, which is nothing to tell of. */
  #drawWaiting(waiting) {
    const age = waiting.length ? Date.now() - waiting[0].at : 0;
    if (waiting.length && !this.#trouble && age < QUIETLY) this.#timer = setTimeout(() => this.draw(), QUIETLY - age);
    const told = waiting.length > 0 && (this.#trouble || age >= QUIETLY);
    const before = this.holder.querySelector("[data-waiting]");
    if (!told) return before?.remove();
    const box = before ?? document.querySelector("[data-waiting-template]").content.firstElementChild.cloneNode(true);
    box.querySelector("[data-sentence]").textContent = waiting.length === 1 ? "1 answer waits to be sent" : `${waiting.length} answers wait to be sent`;
    if (!before) (this.holder.querySelector(".actions__state, .empty") ?? this.holder).append(box);
  }
}

/** When this annotator's day began. */
export function midnight() {
  return new Date(new Date().setHours(0, 0, 0, 0)).toISOString();
}
