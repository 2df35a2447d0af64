// What an annotator has done of a task, kept in this browser until the server has it.
import { names, read, remove, write } from "./storage.js";

const PREFIX = "rankloop:draft:";
const KEPT_DAYS = 14;

export class Draft {
  /** `revision`: of the ranking that the draft changes; undefined while there is none. */
  constructor(user, assignment, revision) {
    this.name = [PREFIX + user, assignment, ...(revision ? [revision] : [])].join(":");
  }

  /** Whether nothing was saved. */
  get isEmpty() {
    return read(this.name) === null;
  }

  /** What was saved, or `first`, or an empty draft. */
  load(first = {}) {
    return { tiers: {}, ratings: {}, rationale: "", seconds: 0, ...first, ...read(this.name) };
  }

  save(draft) {
    write(this.name, { ...draft, at: Date.now() });
  }

  clear() {
    remove(this.name);
  }

  static forgetOld() {
    const oldest = Date.now() - KEPT_DAYS * 86400e3;
    for (const name of names(PREFIX)) {
      if (!(read(name)?.at > oldest)) remove(name);
    }
  }
}
