// Draws the tiers: the chips on the board, the buttons and the standing of each response.

const ENDS = ["pointerup", "mouseup", "touchend"];

export class Board {
  /** `moved(number, tier)` when a chip was dropped or a tier's button pressed. */
  constructor(workbench, tiers, moved) {
    this.workbench = workbench;
    this.tiers = tiers;
    this.cards = new Map(all(workbench, "[data-response]").map((card) => [Number(card.dataset.response), card]));
    this.chips = new Map(all(workbench, "[data-chip]").map((chip) => [Number(chip.dataset.chip), chip]));
    this.zones = all(workbench, "[data-zone]");
    for (const [number, card] of this.cards) {
      for (const button of all(card, "button[data-tier]")) {
        button.addEventListener("click", () => {
          const tier = Number(button.dataset.tier);
          moved(number, tiers.of(number) === tier ? 0 : tier);
        });
      }
    }
    this.sortables = this.zones.map((zone) => this.#droppable(zone, moved));
  }

  letter(number) {
    return this.cards.get(number).dataset.letter;
  }

  draw() {
    for (const number of this.tiers.numbers) {
      const tier = this.tiers.of(number);
      const card = this.cards.get(number);
      card.toggleAttribute("data-ranked", tier > 0);
      card.querySelector("[data-standing]").textContent = this.standing(number);
      for (const button of all(card, "button[data-tier]")) button.setAttribute("aria-pressed", Number(button.dataset.tier) === tier);
    }
    for (const zone of this.zones) {
      const chips = this.tiers.in(Number(zone.dataset.zone)).map((number) => this.chips.get(number));
      const list = zone.querySelector(".zone__chips");
      if (chips.some((chip, index) => list.children[index] !== chip) || list.children.length !== chips.length) list.replaceChildren(...chips);
      zone.toggleAttribute("data-empty", chips.length === 0);
    }
    const ranked = this.tiers.ranked.length;
    this.workbench.querySelector("[data-count]").textContent = `${ranked} of ${this.tiers.numbers.length} ranked`;
    this.workbench.querySelector("[data-undo]").disabled = !this.tiers.canUndo;
  }

  /** Where a response stands, in words: "tier 2, tied with D". */
  standing(number) {
    const tier = this.tiers.of(number);
    if (tier === 0) return "not ranked";
    const others = this.tiers.in(tier).filter((other) => other !== number).map((other) => this.letter(other));
    return others.length ? `tier ${tier}, tied with ${others.join(", ")}` : `tier ${tier}`;
  }

  lock(locked) {
    this.workbench.toggleAttribute("data-locked", locked);
    for (const sortable of this.sortables) sortable.option("disabled", locked);
    for (const control of all(this.workbench, "button[data-tier], input, textarea")) control.disabled = locked;
  }

  destroy() {
    for (const sortable of this.sortables) sortable.destroy();
  }

  #droppable(zone, moved) {
    return Sortable.create(zone.querySelector(".zone__chips"), {
      group: "tiers",
      draggable: "[data-chip]",
      sort: false,
      animation: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 120,
      // Sortable's own dragging, alike for mouse and touch; the browser's has no touch.
      forceFallback: true,
      fallbackOnBody: true,
      fallbackTolerance: 3,
      delay: 120,
      delayOnTouchOnly: true,
      touchStartThreshold: 5,
      emptyInsertThreshold: 12,
      onChoose: () => {
        // No zone moves away from under the pointer because another one got smaller.
        for (const each of this.zones) each.style.minHeight = `${each.offsetHeight}px`;
      },
      onUnchoose: () => {
        if (!("dragging" in this.workbench.dataset)) this.#release();
      },
      onStart: () => {
        this.workbench.toggleAttribute("data-dragging", true);
        this.aimed = null;
        for (const end of ENDS) addEventListener(end, this.#aim, true);
      },
      onEnd: ({ item, to }) => {
        for (const end of ENDS) removeEventListener(end, this.#aim, true);
        const target = this.aimed ?? to.closest("[data-zone]");
        this.workbench.toggleAttribute("data-dragging", false);
        this.#release();
        moved(Number(item.dataset.chip), Number(target.dataset.zone));
        this.draw();
      },
    });
  }

  /** Notes where a drag ends before Sortable lets the chip grow back, which may push the zones away. */
  #aim = (event) => {
    this.aimed = zoneUnder(event);
  };

  #release() {
    for (const zone of this.zones) zone.style.minHeight = "";
  }
}

/** The zone where a drag ended. Sortable looks only every 50 ms where it is, which a quick hand outruns. */
function zoneUnder(event) {
  const { clientX, clientY } = event.changedTouches?.[0] ?? event;
  return document.elementFromPoint(clientX, clientY)?.closest("[data-zone]");
}

function all(root, selector) {
  return [...root.querySelectorAll(selector)];
}
