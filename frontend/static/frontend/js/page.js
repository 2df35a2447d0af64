// What every page does: theme, menus, dialogs, toasts, copying, maths.
import { drawMaths } from "./maths.js";
import { toast } from "./toasts.js";

const THEMES = ["system", "light", "dark"];

function currentTheme() {
  return document.documentElement.dataset.theme ?? "system";
}

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const age = theme === "system" ? 0 : 31536000;
  document.cookie = `theme=${theme}; path=/; max-age=${age}; samesite=lax`;
  for (const button of document.querySelectorAll("[data-theme-toggle]")) {
    button.title = `Theme: ${theme}`;
    button.setAttribute("aria-label", button.title);
    for (const icon of button.querySelectorAll("[data-theme-icon]")) icon.hidden = icon.dataset.themeIcon !== theme;
  }
  document.dispatchEvent(new CustomEvent("theme-changed", { detail: theme }));
}

const actions = {
  themeToggle() {
    setTheme(THEMES[(THEMES.indexOf(currentTheme()) + 1) % THEMES.length]);
  },
  opens(button) {
    document.getElementById(button.dataset.opens)?.showModal();
  },
  closes(button) {
    button.closest("dialog")?.close();
  },
  dismiss(button) {
    button.closest(".toast")?.remove();
  },
  async copies(button) {
    const source = document.getElementById(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(source.innerText.trim());
      toast("Copied.", "success");
    } catch {
      getSelection().selectAllChildren(source);
      toast("Marked. Copy it with your keyboard.", "info");
    }
  },
};

document.addEventListener("click", (event) => {
  for (const name of Object.keys(actions)) {
    const attribute = `data-${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    const button = event.target.closest(`[${attribute}]`);
    if (button) actions[name](button);
  }
  // A click beside a dialog's content closes it.
  if (event.target instanceof HTMLDialogElement) event.target.close();
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.confirm && !form.dataset.confirmed) {
    event.preventDefault();
    confirmFirst(form, event.submitter);
    return;
  }
  // A form is sent once, however often its button is pressed.
  if (form.method !== "post" || form.matches("[hx-post]")) return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
  for (const button of form.querySelectorAll("button[type=submit], button:not([type])")) button.setAttribute("aria-busy", "true");
});

/** Ask with the form's `data-confirm` sentence before it is sent. */
function confirmFirst(form, submitter) {
  const dialog = document.getElementById("confirm");
  dialog.querySelector("[data-sentence]").textContent = form.dataset.confirm;
  dialog.querySelector("[data-yes]").textContent = submitter.innerText.trim();
  dialog.addEventListener(
    "close",
    () => {
      if (dialog.returnValue !== "yes") return;
      form.dataset.confirmed = "yes";
      form.requestSubmit(submitter);
    },
    { once: true },
  );
  dialog.returnValue = "";
  dialog.showModal();
}

addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    delete form.dataset.confirmed;
    for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  }
});

document.addEventListener("htmx:responseError", () => toast("The server refused that. Reload the page and try again.", "error"));
document.addEventListener("htmx:sendError", () => toast("No connection. Nothing was changed; try again in a moment.", "error"));

drawMaths(document);
document.addEventListener("htmx:load", ({ target }) => drawMaths(target));

const here = document.querySelector(".nav [aria-current]");
if (here) here.parentElement.scrollLeft = here.offsetLeft - (here.parentElement.clientWidth - here.offsetWidth) / 2;

for (const sent of document.querySelectorAll(".toast--success, .toast--info")) setTimeout(() => sent.remove(), 6000);
