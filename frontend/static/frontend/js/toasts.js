/** Say a sentence at the page's edge, and to screen readers. Tones: info, success, warning, error. */
export function toast(sentence, tone = "info") {
  const region = document.querySelector("[data-toasts]");
  const template = document.querySelector("[data-toast-template]");
  const box = template.content.firstElementChild.cloneNode(true);
  box.classList.add(`toast--${tone}`);
  box.querySelector("p").textContent = sentence;
  region.append(box);
  if (tone === "info" || tone === "success") setTimeout(() => box.remove(), 6000);
  return box;
}
