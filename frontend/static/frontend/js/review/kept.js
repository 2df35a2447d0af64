// What a reviewer has begun of a task, kept in this tab until the server has it.
export class Kept {
  constructor(task) {
    this.name = `rankloop:review:${task}`;
    try {
      this.values = JSON.parse(sessionStorage.getItem(this.name)) ?? {};
    } catch {
      this.values = {}; // Unreadable or forbidden storage is like none.
    }
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    this.values[name] = value;
    try {
      sessionStorage.setItem(this.name, JSON.stringify(this.values));
    } catch {
      // Full or forbidden: the page still holds it.
    }
  }

  clear() {
    this.values = {};
    try {
      sessionStorage.removeItem(this.name);
    } catch {
      // Nothing was kept.
    }
  }
}
