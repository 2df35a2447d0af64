// What is wrong with a response apart from its rank: kinds, the last of which needs a note.
import { keysAreOn } from "./keys.js";

const OTHER = "other";

export class Flags {
  #flags = {};
  #number = null;

  constructor(task) {
    this.task = task;
    this.dialog = document.getElementById("flags");
    this.boxes = [...this.dialog.querySelectorAll("input[type=checkbox]")];
    this.note = this.dialog.querySelector("textarea");
    const { signal } = task;
    task.workbench.addEventListener("click", ({ target }) => {
      if (target.closest("[data-flags]")) this.open(Number(target.closest("[data-response]").dataset.response));
    }, { signal });
    this.dialog.addEventListener("input", ({ target }) => this.#read(target), { signal });
    this.dialog.addEventListener("keydown", (event) => this.#key(event), { signal });
    this.dialog.addEventListener("close", () => this.#closed(), { signal });
  }

  open(number) {
    this.#number = number;
    const flags = this.#flags[number] ?? {};
    this.dialog.querySelector("h2").textContent = `Flag response ${this.task.board.letter(number)}`;
    for (const box of this.boxes) box.checked = box.value in flags;
    this.note.value = flags[OTHER] ?? "";
    this.#showNote();
    this.dialog.showModal();
  }

  restore({ flags = {} }) {
    this.#flags = structuredClone(flags);
    for (const number of this.task.tiers.numbers) this.#draw(number);
  }

  save() {
    return { flags: structuredClone(this.#flags) };
  }

  get answer() {
    return {
      flags: Object.entries(this.#flags).flatMap(([number, kinds]) =>
        Object.entries(kinds).map(([kind, note]) => ({ number: Number(number), kind, note })),
      ),
    };
  }

  get missing() {
    const number = this.task.tiers.numbers.find((one) => this.#flags[one]?.[OTHER]?.trim() === "");
    if (number === undefined) return null;
    return { sentence: `Response ${this.task.board.letter(number)} is flagged as other: say what is wrong, or take the flag off.`, number };
  }

  lock(locked) {
    for (const button of this.task.workbench.querySelectorAll("[data-flags]")) button.disabled = locked;
  }

  end() {
    this.dialog.close();
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target === this.note || !keysAreOn()) return;
    const box = this.boxes.find(({ dataset }) => dataset.key === event.key.toUpperCase());
    if (!box) return;
    event.preventDefault();
    box.focus();
    box.click();
  }

  #read(changed) {
    const before = this.#flags[this.#number] ?? {};
    const checked = this.boxes.filter((box) => box.checked).map(({ value }) => [value, value === OTHER ? this.note.value : before[value] ?? ""]);
    if (checked.length) this.#flags[this.#number] = Object.fromEntries(checked);
    else delete this.#flags[this.#number];
    this.#showNote();
    if (changed.value === OTHER && changed.checked) this.note.focus();
    this.#draw(this.#number);
    this.task.keep();
  }

  #closed() {
    const kinds = this.#told(this.#number);
    this.task.announce(`Response ${this.task.board.letter(this.#number)}: ${kinds ? `flagged ${kinds}` : "no flags"}.`);
  }

  #showNote() {
    this.note.closest("[data-note-field]").hidden = !this.boxes.find(({ value }) => value === OTHER).checked;
  }

  #told(number) {
    return Object.keys(this.#flags[number] ?? {}).map((kind) => kind.replaceAll("_", " ")).join(", ");
  }

  #draw(number) {
    const mark = this.task.board.cards.get(number).querySelector("[data-flagged]");
    const kinds = this.#told(number);
    mark.textContent = kinds && `flagged: ${kinds}${this.#flags[number][OTHER]?.trim() === "" ? ", but not what" : ""}`;
    mark.hidden = !kinds;
  }
}
