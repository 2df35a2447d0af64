// Answers on their way to the server. Each is kept in this browser before it is sent and until the server has it, and it
// is taken once: the server knows it by its key, and of several tabs one sends at a time.
import { post, Refused, Unreachable } from "./sending.js";
import { names, onlyHere, read, remove, write } from "./storage.js";

const PREFIX = "rankloop:outbox:";
const FAILURES = 4;
const PATIENCE = 2_000;

export class Outbox {
  #prefix;
  #sending = null;
  #controller = null;
  #failures = new Map();
  #queue = Promise.resolve();
  #latest = 0;

  /**
   * `asks(entry)`: more fields to send with it; `changed({ elsewhere })`: another number of answers waits, by this
   * tab's or another one's doing; `taken(entry, answer)`; `refused(entry, refusal)`, for good: the entry stays, marked, until `dismiss`;
   * `troubled(error, { seconds, givenUp })`: not reached, to be tried again in so many seconds; or, given up, by `again`.
   */
  constructor(user, { asks = () => ({}), changed = () => {}, taken = () => {}, refused = () => {}, troubled = () => {} }) {
    Object.assign(this, { user, asks, changed, taken, refused, troubled });
    this.#prefix = `${PREFIX}${user}:`;
    addEventListener("storage", ({ key }) => (key === null || key.startsWith(this.#prefix)) && changed({ elsewhere: true }));
    for (const kind of ["online", "focus", "pageshow"]) addEventListener(kind, () => this.send());
  }

  /** What is to be sent, oldest first. */
  get waiting() {
    return this.#entries().filter((entry) => !entry.refusal);
  }

  /** What the server refused for good and nobody has dismissed. */
  get refusals() {
    return this.#entries().filter((entry) => entry.refusal);
  }

  /** Whether something would be lost with this page, because the browser keeps nothing. */
  get isFragile() {
    return this.waiting.some(({ key }) => onlyHere(this.#prefix + key));
  }

  isWaiting(key) {
    return this.waiting.some((entry) => entry.key === key);
  }

  /**
   * Keep an answer: `{kind, project, assignment, url, body, draft, …}`, `draft` being the name of the draft that ends with it.
   * It takes the place of one for the same assignment that was refused. Returns its key.
   */
  put(entry) {
    for (const { key, assignment } of this.refusals) if (assignment === entry.assignment) this.dismiss(key);
    const key = newKey();
    this.#latest = Math.max(Date.now(), this.#latest + 1);
    write(this.#prefix + key, { ...entry, key, at: this.#latest });
    this.changed({ elsewhere: false });
    return key;
  }

  /** Take an answer out again. Resolves to it, or to null where the server took or refused it before. */
  takeBack(key) {
    // What is on its way is waited for, since its outcome is soon known, but not for long.
    const late = setTimeout(() => this.#controller?.abort(), PATIENCE);
    return this.#inTurn(() => {
      clearTimeout(late);
      const entry = read(this.#prefix + key);
      if (!entry || entry.refusal) return null;
      this.dismiss(key);
      return entry;
    });
  }

  dismiss(key) {
    remove(this.#prefix + key);
    this.#failures.delete(key);
    this.changed({ elsewhere: false });
  }

  /** Send what waits, until there is nothing left or somebody has to do something. */
  send() {
    this.#sending ??= this.#sendAll().finally(() => (this.#sending = null));
    return this.#sending;
  }

  /** Send at once, also what was given up. */
  again() {
    for (const key of [...this.#failures.keys()].filter((each) => this.#isGivenUp(each))) this.#failures.delete(key);
    return this.hurry();
  }

  /** Send without the pause after a failure: somebody waits for it, and is to be told soon if it fails again. */
  hurry() {
    dispatchEvent(new Event("retry-now"));
    return this.send();
  }

  async #sendAll() {
    for (let attempt = 1; ; attempt += 1) {
      const next = this.waiting.find(({ key }) => !this.#isGivenUp(key));
      if (!next) return;
      try {
        await this.#inTurn(() => this.#sendOne(next.key));
        attempt = 0;
      } catch (error) {
        if (error instanceof Refused) return this.troubled(error, {});
        if (!(error instanceof Unreachable)) throw error;
        this.#failures.set(next.key, error.failed ? (this.#failures.get(next.key) ?? 0) + 1 : 0);
        const givenUp = this.#isGivenUp(next.key);
        const seconds = Math.min(30, 2 ** attempt);
        this.troubled(error, { seconds, givenUp });
        if (!givenUp) await reachableOrLater(seconds);
      }
    }
  }

  async #sendOne(key) {
    const entry = read(this.#prefix + key);
    if (!entry || entry.refusal) return; // another tab was faster, or it was taken back
    write(this.#prefix + key, { ...entry, tried: true });
    this.#controller = new AbortController();
    let answer;
    try {
      answer = await post(entry.url, { ...entry.body, key, annotator: this.user, ...this.asks(entry) }, { controller: this.#controller });
    } catch (error) {
      if (!(error instanceof Refused && error.final)) throw error;
      if (error.code === "conflict" && entry.unsure) {
        // The server had the first one, whose receipt was lost, when it was taken back: this one changes it.
        write(this.#prefix + key, { ...entry, url: entry.amendUrl, unsure: false });
        return;
      }
      write(this.#prefix + key, { ...entry, refusal: { code: error.code, sentence: error.sentence } });
      this.changed({ elsewhere: false });
      this.refused(entry, error);
      return;
    } finally {
      this.#controller = null;
    }
    if (entry.draft) remove(entry.draft);
    this.dismiss(key);
    this.taken(entry, answer);
  }

  #entries() {
    return names(this.#prefix).map(read).filter((entry) => entry?.key).sort((one, other) => one.at - other.at);
  }

  #isGivenUp(key) {
    return (this.#failures.get(key) ?? 0) >= FAILURES;
  }

  /** Runs `work` while no other tab sends. Web Locks are there in secure contexts only; else tabs may send the same, which the server takes once. */
  #inTurn(work) {
    if (navigator.locks) return navigator.locks.request(this.#prefix, work);
    const turn = this.#queue.then(work);
    this.#queue = turn.catch(() => {});
    return turn;
  }
}

function reachableOrLater(seconds) {
  return new Promise((resolve) => {
    const stop = new AbortController();
    const go = () => {
      clearTimeout(timer);
      stop.abort();
      resolve();
    };
    const timer = setTimeout(go, seconds * 1000);
    addEventListener("online", go, { signal: stop.signal });
    addEventListener("retry-now", go, { signal: stop.signal });
  });
}

/** A UUID. randomUUID is there in secure contexts only, and a team's own server may be plain HTTP. */
function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
