// Talking with the server: what was refused, and what may be tried again.

/** The server understood and said no. `code` and `sentence` are the refusal's. */
export class Refused extends Error {
  constructor(code, sentence) {
    super(sentence);
    this.code = code;
    this.sentence = sentence;
  }
}

/** The server was not reached or was not well: the same request may be sent again. `status` is what it answered; 0 if nothing. */
export class Unreachable extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }

  /** Whether the server is there and fails, so that sending the same again may never help. */
  get failed() {
    return this.status >= 500;
  }
}

const TIMEOUT = 20_000;
const FAILURES = 4;

/** POST `body` as JSON; resolves to the answer's JSON. Throws Refused or Unreachable. */
export async function post(url, body = {}) {
  let response;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": csrfToken(), Accept: "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT),
    });
  } catch (error) {
    throw new Unreachable(error.message);
  }
  if (response.redirected) {
    throw new Refused("logged_out", "You were logged out. Log in again in another tab, then come back and submit: your ranking is kept here.");
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  if (response.status >= 500 || response.status === 429) throw new Unreachable(`status ${response.status}`, response.status);
  throw new Refused(
    answer?.code ?? "refused",
    answer?.sentence ?? "The server refused this. Reload the page: your ranking is kept in this browser.",
  );
}

/**
 * As `post`, again and again until the server is reached. `waiting(seconds, error)` is told before each wait. Throws
 * Unreachable too, once the server failed `FAILURES` times in a row.
 */
export async function postUntilReached(url, body, waiting) {
  let failures = 0;
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await post(url, body);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      failures = error.failed ? failures + 1 : 0;
      if (failures === FAILURES) throw error;
      const seconds = Math.min(30, 2 ** (attempt + 1));
      waiting(seconds, error);
      await reachableOrLater(seconds);
    }
  }
}

/** Ends the present wait of `postUntilReached` at once. */
export function retryNow() {
  dispatchEvent(new Event("retry-now"));
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

function csrfToken() {
  // The cookie is fresh even after a log-in in another tab; the page's own token may not be.
  const cookie = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
  return cookie ? decodeURIComponent(cookie[1]) : JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
}
