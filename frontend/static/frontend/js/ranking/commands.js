// What is pressed, clicked and chosen on the ranking page, and what of it the page does.
import { Demonstrations } from "./demonstrations.js";
import { Differences } from "./differences.js";
import { Flags } from "./flags.js";
import { bindSwitch, listen } from "./keys.js";
import { showPassage } from "./passages.js";
import { Strength } from "./strength.js";

/**
 * Listens for all that can be done with the task in `holder`.
 *
 * `page.task`: the shown one, null without. `page.waits`: its answer is on its way, so that nothing is done to it.
 * `page.leavesInPlace`: another task follows what is left as it is. The rest of `page` are its acts.
 */
export function bind(holder, page) {
  bindClicks(holder, page);
  bindSkip(page);
  bindKeys(page);
  for (const kind of ["pointerdown", "pointermove", "keydown", "scroll"]) {
    document.addEventListener(kind, page.active, { passive: true, capture: true });
  }
}

function bindClicks(holder, page) {
  holder.addEventListener("submit", (event) => {
    event.preventDefault();
    page.submit();
  });
  holder.addEventListener("click", (event) => {
    const pressed = (selector) => event.target.closest(selector);
    if (pressed("[data-look-again]")) page.lookAgain();
    if (pressed("[data-send-now]")) page.sendNow();
    if (pressed("[data-undo-submit]")) page.undoSubmit();
    if (pressed("[data-gives-back]") && !page.waits) page.giveBack();
    if (pressed("[data-leaves]") && page.leavesInPlace) {
      event.preventDefault();
      page.leaveAsItIs();
    }
    const citation = pressed("a.citation");
    if (citation) {
      event.preventDefault();
      showPassage(citation);
    }
  });
}

function bindSkip(page) {
  // A reason is nobody's until it is chosen, for each task anew.
  document.getElementById("skip")?.addEventListener("close", (event) => event.target.querySelector("form").reset());
  document.querySelector("[data-skip-form]")?.addEventListener("submit", (event) => {
    page.skip(new FormData(event.target).get("reason") ?? "");
  });
}

function bindKeys(page) {
  const whileRanking = (act) => (...given) => page.waits || (page.task && act(page.task, ...given));
  const open = (id) => document.getElementById(id)?.showModal();
  bindSwitch(document.querySelector("[data-single-keys]"));
  listen({
    submit: page.submit,
    tier: whileRanking((task, tier) => task.placeCurrent(tier)),
    tie: whileRanking((task) => task.tieCurrent()),
    unrank: whileRanking((task) => task.unrankCurrent()),
    nudge: whileRanking((task, by) => task.nudgeCurrent(by)),
    step: (by) => page.task?.step(by),
    focus: (letter) => page.task?.focusLetter(letter),
    open,
    letters: {
      z: whileRanking((task) => task.undo()),
      u: page.undoSubmit,
      s: () => page.task?.lease && open("skip"),
      l: () => open("guidelines"),
      f: whileRanking((task) => task.part(Flags).open(task.current)),
      e: whileRanking((task) => task.part(Demonstrations).edit(task.current)),
      w: whileRanking((task) => task.part(Demonstrations).write()),
      b: whileRanking((task) => task.part(Strength).cycle()),
      d: () => page.task?.part(Differences).toggle(),
    },
  });
}
