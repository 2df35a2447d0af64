// Formulas in the task's texts. They come a moment later than the texts, the first time.
import { drawMaths } from "../maths.js";
import { Differences } from "./differences.js";
import { Folding } from "./folding.js";

export class Formulas {
  constructor(task) {
    drawMaths(task.workbench).then((drawn) => {
      if (!drawn || task.signal.aborted) return;
      task.part(Folding).measure();
      task.part(Differences).refresh();
    });
  }
}
