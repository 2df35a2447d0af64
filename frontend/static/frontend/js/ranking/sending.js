// Talking with the server: what was refused, and what may be tried again.

// Refusals of the person, not of what they sent: once they have logged in again, the same is taken.
const NOT_FINAL = ["logged_out", "forbidden"];
const TIMEOUT = 20_000;

/** The server understood and said no. `code` and `sentence` are the refusal's. */
export class Refused extends Error {
  constructor(code, sentence) {
    super(sentence);
    this.code = code;
    this.sentence = sentence;
  }

  /** Whether sending the same again can never help. */
  get final() {
    return !NOT_FINAL.includes(this.code);
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

/**
 * POST `body` as JSON; resolves to the answer's JSON. Throws Refused or Unreachable. `keepalive`: it outlives the page;
 * `controller` aborts it, which is Unreachable, since the server may have it already.
 */
export function post(url, body = {}, { keepalive = false, controller } = {}) {
  const headers = { "Content-Type": "application/json", "X-CSRFToken": csrfToken(), Accept: "application/json" };
  return ask(url, { method: "POST", headers, body: JSON.stringify(body), keepalive }, controller);
}

/** GET; resolves and throws as `post`. */
export function get(url) {
  return ask(url, { headers: { Accept: "application/json" } });
}

async function ask(url, request, controller = new AbortController()) {
  const timer = setTimeout(() => controller.abort(), TIMEOUT);
  let response, answer;
  try {
    response = await fetch(url, { ...request, signal: controller.signal });
    answer = response.redirected ? null : await body(response);
  } catch (error) {
    throw new Unreachable(error.message);
  } finally {
    clearTimeout(timer);
  }
  if (response.redirected) throw new Refused("logged_out", "You were logged out. Log in again in another tab: your answers are kept here, and sent then.");
  if (response.ok && answer) return answer;
  if (response.status >= 500 || response.status === 429) throw new Unreachable(`status ${response.status}`, response.status);
  throw new Refused(
    answer?.code ?? (response.status === 403 ? "forbidden" : "refused"),
    answer?.sentence ?? "The server refused this. Reload the page: what you did is kept in this browser.",
  );
}

/** The answer's JSON; null where it has none. An answer that breaks off on its way is thrown. */
async function body(response) {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function csrfToken() {
  // The cookie is fresh even after a log-in in another tab; the page's own token may not be.
  const cookie = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
  return cookie ? decodeURIComponent(cookie[1]) : JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
}
