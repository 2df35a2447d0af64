// The passages beside the responses, to which citations lead.

/** Escape goes back to where it was cited. */
export function showPassage(citation) {
  const passage = document.querySelector(citation.getAttribute("href"));
  document.querySelector("[data-passages]").open = true;
  for (const other of document.querySelectorAll(".passage[data-cited]")) other.removeAttribute("data-cited");
  passage.toggleAttribute("data-cited", true);
  passage.scrollIntoView({ block: "nearest" });
  passage.focus({ preventScroll: true });
  passage.addEventListener("keydown", ({ key }) => key === "Escape" && citation.focus(), { once: true });
}
