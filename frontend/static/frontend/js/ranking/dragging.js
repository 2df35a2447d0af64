/**
 * Dragging responses into tiers, by the handles of their cards or by their letters on the board; mouse and touch alike.
 *
 * Nothing on the page moves while something is carried: Sortable carries a picture of it, and where it is let go decides.
 * Let go over no tier, it stays where it was. With a finger a handle is held a moment first, so that one who scrolls over
 * a handle scrolls; from then on the page stands still under the finger.
 */
const HOLD = 150; // ms
const MOVES = ["pointermove", "touchmove"];
const ENDS = ["pointerup", "mouseup", "touchend", "pointercancel", "touchcancel"];

export class Dragging {
  #aimed = null;
  #held = false;
  #sortables;
  #workbench;

  /** `dropped(number, tier)` when a response was let go over a tier. */
  constructor(workbench, dropped) {
    this.#workbench = workbench;
    const lists = workbench.querySelectorAll("[data-cards], .zone__chips");
    this.#sortables = [...lists].map((list) => this.#draggable(list, dropped));
    for (const list of lists) {
      list.addEventListener("touchmove", this.#stayStill, { passive: false });
      list.addEventListener("contextmenu", this.#stayStill);
    }
  }

  lock(locked) {
    for (const sortable of this.#sortables) sortable.option("disabled", locked);
  }

  end() {
    this.#stopAiming();
    for (const sortable of this.#sortables) sortable.destroy();
  }

  #draggable(list, dropped) {
    return Sortable.create(list, {
      group: { name: "tiers", pull: false, put: false },
      sort: false,
      draggable: "[data-response], [data-chip]",
      handle: "[data-handle]",
      // Sortable's own dragging, alike for mouse and touch; the browser's has no touch.
      forceFallback: true,
      fallbackOnBody: true,
      fallbackTolerance: 3,
      delay: HOLD,
      delayOnTouchOnly: true,
      touchStartThreshold: 8,
      // Every tier is in sight all the time.
      scroll: false,
      onChoose: () => (this.#held = true),
      onUnchoose: () => (this.#held = false),
      onStart: ({ item }) => {
        underTheHand(item);
        this.#workbench.toggleAttribute("data-dragging", true);
        for (const kind of MOVES) addEventListener(kind, this.#aim, true);
        for (const kind of ENDS) addEventListener(kind, this.#aim, true);
      },
      onEnd: ({ item }) => {
        const aimed = this.#aimed;
        this.#stopAiming();
        if (aimed) dropped(Number(item.dataset.response ?? item.dataset.chip), Number(tierOf(aimed)));
      },
    });
  }

  /** Marks the tier under the hand. Sortable looks only every 50 ms where it is, which a quick hand outruns. */
  #aim = (event) => {
    const { clientX, clientY } = event.changedTouches?.[0] ?? event;
    const cancelled = event.type.endsWith("cancel");
    const target = cancelled ? null : document.elementFromPoint(clientX, clientY)?.closest("[data-zone], [data-standing-in]");
    if (target === this.#aimed) return;
    this.#aimed?.removeAttribute("data-aimed");
    this.#aimed = target ?? null;
    this.#aimed?.toggleAttribute("data-aimed", true);
  };

  #stopAiming() {
    for (const kind of MOVES) removeEventListener(kind, this.#aim, true);
    for (const kind of ENDS) removeEventListener(kind, this.#aim, true);
    this.#workbench.toggleAttribute("data-dragging", false);
    this.#aimed?.removeAttribute("data-aimed");
    this.#aimed = null;
    this.#held = false;
  }

  #stayStill = (event) => {
    if (this.#held && event.cancelable) event.preventDefault();
  };
}

/** The board's zones are tiers; cards and headings that stand in their tiers stand for them. */
function tierOf(target) {
  return target.dataset.zone ?? target.dataset.standingIn;
}

/** Brings what is carried to the handle that it is carried by: a long card begins far above its handle. */
function underTheHand(item) {
  const { ghost } = Sortable;
  const handle = item.querySelector("[data-handle]");
  if (!ghost || !handle) return;
  ghost.style.top = `${parseFloat(ghost.style.top) + handle.getBoundingClientRect().top - item.getBoundingClientRect().top}px`;
}
