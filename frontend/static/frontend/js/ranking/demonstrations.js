// Better responses in the annotator's words: one of the task's, edited, or one written anew. Models learn from them.
const ANEW = "anew";

export class Demonstrations {
  /** What stands in the editor, by response number or `ANEW`; it counts once it says something new. */
  #texts = {};
  #key = null;
  #putAside = null;

  constructor(task) {
    this.task = task;
    this.dialog = document.getElementById("better");
    this.field = this.dialog.querySelector("textarea");
    this.resets = this.dialog.querySelector("[data-resets]");
    const { signal, workbench } = task;
    workbench.addEventListener("click", ({ target }) => {
      if (target.closest("[data-edits]")) this.edit(Number(target.closest("[data-response]").dataset.response));
      if (target.closest("[data-writes]")) this.write();
    }, { signal });
    this.field.addEventListener("input", () => this.#typed(null), { signal });
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.dialog.close();
    }, { signal });
    this.resets.addEventListener("click", () => this.#reset(), { signal });
    this.dialog.addEventListener("close", () => this.#closed(), { signal });
    this.#showAsked();
  }

  edit(number) {
    this.#open(number, `A better response ${this.task.board.letter(number)}`);
  }

  write() {
    this.#open(ANEW, "A better response");
  }

  restore({ demonstrations = {} }) {
    this.#texts = { ...demonstrations };
    for (const key of this.#keys) this.#draw(key);
  }

  save() {
    return { demonstrations: Object.fromEntries(Object.entries(this.#texts).filter(([key]) => this.#counts(key))) };
  }

  get answer() {
    const { demonstrations } = this.save();
    return { demonstrations: Object.entries(demonstrations).map(([key, text]) => ({ number: key === ANEW ? null : Number(key), text })) };
  }

  lock(locked) {
    for (const button of this.task.workbench.querySelectorAll("[data-edits], [data-writes]")) button.disabled = locked;
  }

  end() {
    this.dialog.close();
  }

  get #keys() {
    return [...this.task.tiers.numbers, ANEW];
  }

  #open(key, title) {
    this.#key = key;
    this.#putAside = null;
    this.dialog.querySelector("h2").textContent = title;
    this.field.value = this.#texts[key] ?? this.#original(key);
    this.#drawEditor();
    this.dialog.showModal();
    this.field.focus();
    this.field.setSelectionRange(0, 0);
    this.field.scrollTop = 0;
  }

  #typed(putAside) {
    this.#putAside = putAside;
    this.#texts[this.#key] = this.field.value;
    this.#drawEditor();
    this.#draw(this.#key);
    this.task.keep();
  }

  /** Back to what the model wrote; pressed again, to what the annotator had made of it. */
  #reset() {
    const mine = this.field.value;
    const back = this.#putAside;
    this.field.value = back ?? this.#original(this.#key);
    this.#typed(back === null ? mine : null);
    this.field.focus();
  }

  #closed() {
    const mark = this.#mark(this.#key);
    const what = this.#key === ANEW ? "A better response" : `Response ${this.task.board.letter(this.#key)}`;
    this.task.announce(mark.hidden ? `${what}: nothing new, so nothing is kept.` : `${what}: ${mark.textContent}.`);
  }

  #counts(key) {
    const text = plain(this.#texts[key] ?? "");
    return text !== "" && text !== plain(this.#original(key));
  }

  #original(key) {
    if (key === ANEW) return "";
    return JSON.parse(this.task.board.cards.get(Number(key)).querySelector("[data-source] script").textContent);
  }

  #mark(key) {
    return key === ANEW ? this.task.workbench.querySelector("[data-written]") : this.task.board.cards.get(Number(key)).querySelector("[data-edited]");
  }

  #draw(key) {
    const mark = this.#mark(key);
    mark.hidden = !this.#counts(key);
    mark.textContent = mark.hidden ? "" : key === ANEW ? "written" : "edited";
  }

  #drawEditor() {
    const changed = this.#counts(this.#key);
    const empty = this.field.value.trim() === "";
    this.dialog.querySelector("[data-standing-of-it]").textContent = changed ? "" : empty ? "Still empty." : "Still as it was.";
    this.resets.hidden = this.#putAside === null && !changed && !(empty && this.#key !== ANEW);
    this.resets.textContent = this.#putAside !== null ? "Bring my text back" : this.#key === ANEW ? "Throw it away" : "Reset to original";
  }

  /** The conversation, to read while writing, unfolded and without what leads elsewhere. Its passages are on the page. */
  #showAsked() {
    const turns = this.task.workbench.querySelector(".turns").cloneNode(true);
    for (const button of turns.querySelectorAll("button")) button.remove();
    for (const citation of turns.querySelectorAll("a.citation")) citation.replaceWith(citation.textContent);
    for (const fold of turns.querySelectorAll("[data-fold]")) fold.replaceWith(...fold.childNodes);
    for (const named of turns.querySelectorAll("[id]")) named.removeAttribute("id");
    this.dialog.querySelector("[data-asked]").replaceChildren(turns);
    this.dialog.querySelector("details").open = false;
  }
}

/** What is left when ends of lines and space around do not count; the server compares alike. */
function plain(text) {
  return text.replaceAll("\r\n", "\n").trim();
}
