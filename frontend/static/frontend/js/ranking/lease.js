// The task is this annotator's for a time. While they work the time is renewed; the page shows what is left. It counts by
// its own clock, since the computer's may be wrong: the server says how many seconds are left, not until when.
import { post, Refused } from "./sending.js";

const OVER = ["lease_lost", "closed", "conflict", "not_found"];
const AT_MOST_EVERY = 30_000;
const WARN_AT = 120;
const SLEPT = 5_000;

export class Lease {
  #renewedAt = -Infinity;
  #timer;
  #warned = false;
  #over = false;
  #offset = computersClock();

  /** `lost(refusal)` when the place went to somebody else, is answered already or its batch was closed; `warn(sentence)` before and when the time is over. */
  constructor({ url, lease, left, seconds, clock, lost, warn }) {
    Object.assign(this, { url, lease, until: performance.now() + 1000 * left, seconds, clock, lost, warn });
    this.#timer = setInterval(() => this.#tick(), 1000);
    this.#tick();
  }

  get left() {
    return Math.floor((this.until - performance.now()) / 1000);
  }

  /** Somebody is working: renew once half of the time is gone. */
  async active() {
    const now = performance.now();
    if (this.#over || this.left > this.seconds / 2 || now - this.#renewedAt < Math.min(AT_MOST_EVERY, this.seconds * 100)) return;
    await this.renew();
  }

  /** Give it its full time from now, or learn that it is lost. */
  async renew() {
    this.#renewedAt = performance.now();
    try {
      const { seconds_left } = await post(this.url, { lease: this.lease });
      this.until = performance.now() + 1000 * seconds_left;
      this.#warned = false;
      if (!this.#over) this.#tick();
    } catch (error) {
      if (error instanceof Refused && OVER.includes(error.code) && !this.#over) this.lost(error);
    }
  }

  end() {
    this.#over = true;
    clearInterval(this.#timer);
  }

  #tick() {
    this.#noticeSleep();
    const left = this.left;
    if (left <= 0) this.clock.textContent = "time is over";
    else if (left < WARN_AT) this.clock.textContent = `${left} s left`;
    else this.clock.textContent = `${Math.round(left / 60)} min left`;
    this.clock.toggleAttribute("data-late", left < WARN_AT);
    if (left < Math.min(WARN_AT, this.seconds / 4) && !this.#warned) {
      this.#warned = true;
      this.warn("The time for this task is nearly over. Go on working to keep it.");
    }
  }

  /** The page's clock may stand still while the computer sleeps; the computer's is then ahead of where it was, and the server knows. */
  #noticeSleep() {
    const offset = computersClock();
    if (offset - this.#offset > SLEPT) this.renew();
    this.#offset = offset;
  }
}

/** By how much the computer's clock is ahead of the page's own. */
function computersClock() {
  return Date.now() - performance.now();
}
