// What this browser keeps. Where its storage is full or forbidden, the page holds it for as long as it is open.
const held = new Map();
let tell = null;

/** Call `told` once, at the first thing that is not kept beyond this page. */
export function whenNotKept(told) {
  tell = told;
  const probe = "rankloop:probe";
  if (write(probe, true)) localStorage.removeItem(probe);
  held.delete(probe);
}

/** What was written; null where there is nothing, or nothing that can be read. */
export function read(name) {
  try {
    return JSON.parse(held.get(name) ?? localStorage.getItem(name));
  } catch {
    return null;
  }
}

/** Whether it is kept beyond this page. */
export function write(name, value) {
  const text = JSON.stringify(value);
  try {
    localStorage.setItem(name, text);
    held.delete(name);
    return true;
  } catch {
    held.set(name, text);
    tell?.();
    tell = null;
    return false;
  }
}

export function remove(name) {
  held.delete(name);
  try {
    localStorage.removeItem(name);
  } catch {
    // Forbidden, so it was never there.
  }
}

export function names(prefix) {
  let stored = [];
  try {
    stored = Object.keys(localStorage);
  } catch {
    // Forbidden.
  }
  return [...new Set([...stored, ...held.keys()])].filter((name) => name.startsWith(prefix));
}

/** Whether it would be gone with this page. */
export function onlyHere(name) {
  return held.has(name);
}
