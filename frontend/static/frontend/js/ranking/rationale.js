// Why they were ranked so, in the annotator's words.
export class Rationale {
  constructor({ workbench }) {
    this.field = workbench.querySelector("#rationale");
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
