// What an annotator has done of a task, kept in this browser until the server has it.
const PREFIX = "rankloop:draft:";
const KEPT_DAYS = 14;

export class Draft {
  /** `revision`: of the ranking that the draft changes; undefined while there is none. */
  constructor(user, assignment, revision) {
    this.name = [PREFIX + user, assignment, ...(revision ? [revision] : [])].join(":");
  }

  /** What was saved, or `first`, or an empty draft, with a fresh submission key. */
  load(first = {}) {
    try {
      const saved = JSON.parse(localStorage.getItem(this.name));
      if (saved?.key) return saved;
    } catch {
      // Unreadable or forbidden storage is like none.
    }
    return { key: newKey(), tiers: {}, ratings: {}, rationale: "", seconds: 0, ...first };
  }

  save(draft) {
    try {
      localStorage.setItem(this.name, JSON.stringify({ ...draft, at: Date.now() }));
    } catch {
      // Full or forbidden: the page still holds it.
    }
  }

  clear() {
    try {
      localStorage.removeItem(this.name);
    } catch {
      // Nothing was kept.
    }
  }

  static forgetOld() {
    try {
      const oldest = Date.now() - KEPT_DAYS * 86400e3;
      for (const name of Object.keys(localStorage)) {
        if (name.startsWith(PREFIX) && !(JSON.parse(localStorage.getItem(name))?.at > oldest)) localStorage.removeItem(name);
      }
    } catch {
      // Nothing to forget.
    }
  }
}

/** A UUID. randomUUID is there in secure contexts only, and a team's own server may be plain HTTP. */
export function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
