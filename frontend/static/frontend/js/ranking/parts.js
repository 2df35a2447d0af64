/**
 * What a task is made of besides the ranking itself: how its texts are read, and what else is asked. Each part is a class
 * in a module of its own, made anew for each task. All but the constructor may be left out:
 *
 *   constructor(task)   find the controls in `task.workbench`; listeners take `{ signal: task.signal }`, which ends with the task
 *   restore(draft)      put what the draft holds into the controls; a field may be missing in an old draft
 *   save()              the part's fields of the draft; called after each input event and move, and by `task.keep()`
 *   answer              the part's fields of what is submitted
 *   missing             `{ sentence, number }`: why it cannot be submitted yet and which response that is about; else null
 *   moved()             the ranking changed, and the board is drawn; what a screen reader should hear of it besides the move, or nothing
 *   focused()           `task.current` changed
 *   lock(locked)        nothing can be changed while the answer is on its way (inputs and tiers' buttons are locked already)
 *   end()               take down what `task.signal` does not
 *
 * `task.part(Class)` is the part of that class, for keys and other parts.
 */
import { Demonstrations } from "./demonstrations.js";
import { Differences } from "./differences.js";
import { Flags } from "./flags.js";
import { Folding } from "./folding.js";
import { Formulas } from "./formulas.js";
import { Rationale } from "./rationale.js";
import { Ratings } from "./ratings.js";
import { Reading } from "./reading.js";
import { Strength } from "./strength.js";

export const PARTS = [Folding, Reading, Differences, Formulas, Ratings, Flags, Demonstrations, Strength, Rationale];
