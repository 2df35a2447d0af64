// Sentences that stand on the page until something is done about them.
const template = document.querySelector("[data-notice-template]");

/** A sentence with buttons: `[label, action]` pairs. Tones: info, which interrupts nobody, warn, danger. */
export function noticeBox(sentence, tone, buttons = []) {
  const box = template.content.firstElementChild.cloneNode(true);
  box.classList.add(`notice--${tone}`);
  if (tone === "info") box.setAttribute("role", "status");
  box.querySelector("[data-sentence]").textContent = sentence;
  for (const [label, action] of buttons) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "button", textContent: label });
    button.addEventListener("click", action);
    box.querySelector("[data-buttons]").append(button);
  }
  return box;
}
