// The tasks that come next: as the server sent them, parsed but not shown, so that showing one waits for nothing.
import { htmlWithTex } from "../maths.js";
import { post, Refused, Unreachable } from "./sending.js";

const MARGIN = 5_000;

/** A task as HTML, or the page's word that there is none. */
export class Sheet {
  #template = document.createElement("template");

  constructor(html) {
    this.#template.innerHTML = html;
    const workbench = this.#template.content.querySelector("[data-workbench]");
    const { assignment, lease, secondsLeft, renew, giveBack, revision, qualification } = workbench?.dataset ?? {};
    Object.assign(this, { isTask: workbench !== null, assignment, lease, renew, giveBack, amends: revision !== undefined });
    /** Whether its answer is told how it did, before anything else is shown. */
    this.isTold = qualification !== undefined;
    /** Whether it says that the annotator gets no tasks, and none of those they have is theirs any more. */
    this.isPause = this.#template.content.querySelector("[data-paused]") !== null;
    /** When its lease runs out, on the page's own clock, which nobody sets; undefined without one. */
    this.until = secondsLeft && performance.now() + 1000 * Number(secondsLeft);
    this.at = performance.now();
    this.seen = false;
  }

  /** The one that the page came with. */
  static shownIn(holder) {
    const sheet = new Sheet(htmlWithTex(holder));
    sheet.seen = true;
    return sheet;
  }

  /** Its nodes, anew at each call: whatever was done to earlier ones is not in them. */
  nodes() {
    this.seen = true;
    const nodes = document.importNode(this.#template.content, true);
    if (this.until !== undefined) nodes.querySelector("[data-workbench]").dataset.secondsLeft = (this.until - performance.now()) / 1000;
    return nodes;
  }

  get ranOut() {
    return this.until !== undefined && this.until - performance.now() < MARGIN;
  }
}

export class Ahead {
  #sheets = [];
  #asking = false;
  #found = true;

  /**
   * `url` and `asks()`: where and with what to ask for a task besides those that the page has; `came(answer)` for what
   * the answer says beside it; `arrived()` when there is one; `dropped(sheet)` when one that was worked on is lost;
   * `paused(sheet)` with the server's word that there are none any more.
   */
  constructor({ url, asks, came, arrived, dropped, paused }) {
    Object.assign(this, { url, asks, came, arrived, dropped, paused });
  }

  get assignments() {
    return this.#sheets.map((sheet) => sheet.assignment);
  }

  get isEmpty() {
    return this.#sheets.length === 0;
  }

  /** What the server sent: a task that the page does not have yet joins the others. Returns it, or its word that there is none. */
  receive(html) {
    const sheet = new Sheet(html);
    this.#found = sheet.isTask;
    if (sheet.isPause) {
      this.#sheets = [];
      this.paused(sheet);
    }
    if (sheet.isTask && !this.asks().besides.includes(sheet.assignment)) this.#sheets.push(sheet);
    return sheet;
  }

  /** A task that was put aside comes next. */
  putFirst(sheet) {
    this.#sheets.unshift(sheet);
  }

  forget(assignment) {
    this.#sheets = this.#sheets.filter((sheet) => sheet.assignment !== assignment);
  }

  /** The next one if it can be shown at once: its lease has time left. */
  shift() {
    return this.#sheets[0]?.ranOut ? undefined : this.#sheets.shift();
  }

  /** The one of that assignment, if it is here. */
  pull(assignment) {
    const found = this.#sheets.find((sheet) => sheet.assignment === assignment);
    this.forget(assignment);
    return found;
  }

  /** As `shift`, after asking the server for those whose time ran out: such a place may have gone to somebody else. Throws Unreachable. */
  async renewed() {
    while (!this.isEmpty) {
      const [sheet] = this.#sheets;
      if (sheet.ranOut && !(await this.#renew(sheet))) continue;
      const at = this.#sheets.indexOf(sheet);
      if (at >= 0) return this.#sheets.splice(at, 1)[0];
    }
    return undefined;
  }

  /** Ask again at the next `fill`, though there was none the last time. */
  lookAgain() {
    this.#found = true;
  }

  /** Have one ready, as soon as the page has nothing better to do. */
  fill() {
    if (!this.isEmpty || this.#asking || !this.#found) return;
    this.#asking = true;
    whenIdle(async () => {
      try {
        if (this.isEmpty) {
          const answer = await post(this.url, this.asks());
          this.came(answer);
          this.receive(answer.html);
          if (!this.isEmpty) this.arrived();
        }
      } catch (error) {
        // It is asked for again when it is wanted.
        if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
      } finally {
        this.#asking = false;
      }
    });
  }

  /** Give back what nobody has looked at; with `all`, the rest too. Resolves when the server has it, if it gets there. */
  giveBack({ all = false, keepalive = false } = {}) {
    const going = this.#sheets.filter((sheet) => all || !sheet.seen);
    this.#sheets = this.#sheets.filter((sheet) => !going.includes(sheet));
    return Promise.allSettled(going.map(({ giveBack, lease }) => post(giveBack, { lease, ahead: true }, { keepalive })));
  }

  async #renew(sheet) {
    try {
      const { seconds_left } = await post(sheet.renew, { lease: sheet.lease });
      sheet.until = performance.now() + 1000 * seconds_left;
      return true;
    } catch (error) {
      if (!(error instanceof Refused && error.final)) throw error;
      this.forget(sheet.assignment);
      if (sheet.seen) this.dropped(sheet);
      return false;
    }
  }
}

function whenIdle(work) {
  if (globalThis.requestIdleCallback) requestIdleCallback(work, { timeout: 1000 });
  else setTimeout(work, 200);
}
