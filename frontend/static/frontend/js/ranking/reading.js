/**
 * How the responses are shown, as this browser's reader likes it: side by side or stacked, scrolling together or each for
 * itself, and where they were dealt or in their tiers. Where they were dealt is how it begins: a text that is ranked then
 * stays where it was read, and the board tells where it stands.
 */
const STORED = "rankloop:reading";
const FIRST = { layout: "beside", together: false, inTiers: false };

export class Reading {
  #choices = recalled();
  #driven = new Map();
  #sizes;

  constructor({ workbench, board, tiers, signal }) {
    this.workbench = workbench;
    this.board = board;
    this.tiers = tiers;
    this.list = workbench.querySelector("[data-cards]");
    this.stands = [...this.list.querySelectorAll("[data-stand]")];
    this.texts = [...this.list.querySelectorAll(".response__text")];
    const buttons = workbench.querySelector(".reading");
    buttons.addEventListener(
      "click",
      ({ target }) => {
        const { layoutIs } = target.closest("button")?.dataset ?? {};
        if (layoutIs) this.#choose({ layout: layoutIs });
        else if (target.closest("[data-scrolls-together]")) this.#choose({ together: !this.#choices.together });
        else if (target.closest("[data-in-tiers]")) this.#choose({ inTiers: !this.#choices.inTiers });
      },
      { signal },
    );
    this.list.addEventListener("scroll", ({ target }) => this.#scrolled(target), { capture: true, passive: true, signal });
    this.#sizes = new ResizeObserver(() => this.#reachScrollers());
    for (const text of this.texts) this.#sizes.observe(text);
    this.#draw();
  }

  /** The responses in the order in which they stand on the page. */
  get order() {
    return [...this.list.querySelectorAll("[data-response]")].map((card) => Number(card.dataset.response));
  }

  /** Do `change`, after which another response may be the current one, and show that one where the former one stood. */
  holding(change) {
    if (!this.#choices.inTiers) return change();
    const top = this.#currentTop();
    change();
    scrollBy({ top: this.#currentTop() - top, behavior: "instant" });
  }

  restore() {
    // A conversation is entered at its end, where it scrolls inside itself.
    const last = this.workbench.querySelector(".turn:last-child:not(:first-child)");
    if (last) last.closest(".asked__scroll").scrollTop = last.offsetTop;
  }

  moved() {
    this.#arrange();
  }

  end() {
    this.#sizes.disconnect();
  }

  #choose(choice) {
    this.#choices = { ...this.#choices, ...choice };
    try {
      localStorage.setItem(STORED, JSON.stringify(this.#choices));
    } catch {
      // Full or forbidden: it holds for this task.
    }
    const top = this.#currentTop();
    this.#draw();
    this.#arrange();
    scrollBy({ top: this.#currentTop() - top, behavior: "instant" });
  }

  #draw() {
    const { layout, together, inTiers } = this.#choices;
    this.list.dataset.layout = layout;
    for (const button of this.workbench.querySelectorAll("[data-layout-is]")) button.setAttribute("aria-pressed", button.dataset.layoutIs === layout);
    this.workbench.querySelector("[data-scrolls-together]").setAttribute("aria-pressed", together);
    this.workbench.querySelector("[data-in-tiers]").setAttribute("aria-pressed", inTiers);
  }

  #arrange() {
    const { numbers } = this.tiers;
    const { inTiers } = this.#choices;
    const wanted = [];
    for (const stand of this.stands) {
      const tier = Number(stand.dataset.stand);
      const standing = inTiers ? this.tiers.in(tier) : [];
      stand.hidden = standing.length === 0;
      if (inTiers) stand.dataset.standingIn = tier;
      wanted.push(stand, ...standing.map((number) => this.board.cards.get(number)));
    }
    if (!inTiers) wanted.push(...numbers.map((number) => this.board.cards.get(number)));
    for (const number of numbers) {
      const card = this.board.cards.get(number);
      if (inTiers) card.dataset.standingIn = this.tiers.of(number);
      else delete card.dataset.standingIn;
    }
    this.#stand(wanted);
  }

  /** Puts the list's elements into this order. What is moved in a page loses focus and scroll; both are given back. */
  #stand(wanted) {
    if (wanted.every((element, index) => this.list.children[index] === element)) return;
    const { activeElement } = document;
    const scrolled = this.texts.filter((text) => text.scrollTop).map((text) => [text, text.scrollTop]);
    wanted.forEach((element, index) => {
      if (this.list.children[index] !== element) this.list.insertBefore(element, this.list.children[index] ?? null);
    });
    for (const [text, top] of scrolled) {
      this.#driven.set(text, top);
      text.scrollTop = top;
    }
    if (document.activeElement !== activeElement && this.list.contains(activeElement)) activeElement.focus({ preventScroll: true });
  }

  /** The others go to the same part of their texts. */
  #scrolled(text) {
    const expected = this.#driven.get(text);
    this.#driven.delete(text);
    if (expected !== undefined && Math.abs(expected - text.scrollTop) < 2) return;
    if (!this.#choices.together || this.#choices.layout !== "beside" || !this.texts.includes(text)) return;
    const part = text.scrollTop / Math.max(1, text.scrollHeight - text.clientHeight);
    for (const other of this.texts) {
      if (other === text) continue;
      const top = Math.round(part * (other.scrollHeight - other.clientHeight));
      if (Math.abs(top - other.scrollTop) < 1) continue;
      this.#driven.set(other, top);
      other.scrollTop = top;
    }
  }

  /** A text that scrolls inside its card can be reached and scrolled by keys. */
  #reachScrollers() {
    const scrolling = this.texts.map((text) => !text.hasAttribute("data-folded") && text.scrollHeight > text.clientHeight + 1 && getComputedStyle(text).overflowY === "auto");
    this.texts.forEach((text, index) => {
      text.toggleAttribute("data-scrolls", scrolling[index]);
      if (scrolling[index]) {
        text.tabIndex = 0;
        text.role = "region";
        text.setAttribute("aria-label", `Text of response ${text.closest("[data-response]").dataset.letter}`);
      } else {
        for (const name of ["tabindex", "role", "aria-label"]) text.removeAttribute(name);
      }
    });
  }

  #currentTop() {
    return (this.list.querySelector("[data-response][data-current]") ?? this.list).getBoundingClientRect().top;
  }
}

function recalled() {
  try {
    return { ...FIRST, ...JSON.parse(localStorage.getItem(STORED)) };
  } catch {
    return FIRST;
  }
}
