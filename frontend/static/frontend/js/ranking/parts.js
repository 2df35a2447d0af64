/**
 * What a task asks for besides the ranking itself. Each part is a class in a module of its own, made anew for each task:
 *
 *   constructor(task)   find the controls in `task.workbench`; listeners take `{ signal: task.signal }`, which ends with the task
 *   restore(draft)      put what the draft holds into the controls; a field may be missing in an old draft
 *   save()              the part's fields of the draft; called after each input event, and by `task.keep()`
 *   answer              the part's fields of what is submitted
 *   missing             optional: `{ sentence, number }`, why it cannot be submitted yet and which response that is about; else null
 *   moved()             optional: the ranking changed, and is drawn; what a screen reader should hear of it besides the move, or nothing
 *   lock(locked)        optional: nothing can be changed while the answer is on its way (inputs and buttons of tiers are locked already)
 *   end()               optional: take down what `task.signal` does not
 *
 * `task.part(Class)` is the part of that class, for keys.
 */
import { Demonstrations } from "./demonstrations.js";
import { Flags } from "./flags.js";
import { Rationale } from "./rationale.js";
import { Ratings } from "./ratings.js";
import { Strength } from "./strength.js";

export const PARTS = [Ratings, Flags, Demonstrations, Strength, Rationale];
