// Draws the tiers: the letters on the board, the buttons and the standing of each response. What is dropped, it passes on.
import { Dragging } from "./dragging.js";

export class Board {
  /** `moved(number, tier)` when a response was dropped into a tier or a tier's button pressed. */
  constructor(workbench, tiers, { moved, signal }) {
    this.workbench = workbench;
    this.tiers = tiers;
    this.cards = new Map(all(workbench, "[data-response]").map((card) => [Number(card.dataset.response), card]));
    this.chips = new Map(all(workbench, "[data-chip]").map((chip) => [Number(chip.dataset.chip), chip]));
    this.zones = all(workbench, "[data-zone]");
    this.dragging = new Dragging(workbench, moved);
    workbench.addEventListener(
      "click",
      ({ target }) => {
        const button = target.closest("button[data-tier]");
        if (!button) return;
        const number = Number(button.closest("[data-response]").dataset.response);
        const tier = Number(button.dataset.tier);
        moved(number, tiers.of(number) === tier ? 0 : tier);
      },
      { signal },
    );
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
    this.dragging.lock(locked);
    for (const control of all(this.workbench, "button[data-tier], input, textarea")) control.disabled = locked;
  }

  end() {
    this.dragging.end();
  }
}

function all(root, selector) {
  return [...root.querySelectorAll(selector)];
}
