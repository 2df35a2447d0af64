// Why they were ranked so, in the annotator's words.
export class Rationale {
  constructor({ workbench }) {
    this.field = workbench.querySelector("#rationale");
    // A browser brings the line with the caret into view, and leaves the rest of the field below the bar.
    this.field.addEventListener("focus", () => this.field.scrollIntoView({ block: "nearest" }));
  }

  restore({ rationale = "" }) {
    this.field.value = rationale;
    if (rationale) this.field.closest("details").open = true;
  }

  save() {
    return { rationale: this.field.value };
  }

  get answer() {
    return this.save();
  }
}
