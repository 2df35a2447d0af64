// The page keeps as much room for the bar at its end, and the strip of tiers on it, as they take, in whatever lines they stand.
let shown = null;
const edges = new ResizeObserver(() => {
  const strip = getComputedStyle(shown.board).position === "fixed" && !("dragging" in shown.workbench.dataset) ? shown.board.offsetHeight : 0;
  document.documentElement.style.setProperty("--bar-actions", `${shown.actions.offsetHeight}px`);
  document.documentElement.style.setProperty("--bar", `${shown.actions.offsetHeight + strip}px`);
});

/** For the task that is shown; null for none. */
export function keepRoom(workbench) {
  edges.disconnect();
  shown = workbench && { workbench, actions: workbench.querySelector(".actions"), board: workbench.querySelector(".board") };
  if (shown) for (const edge of [shown.actions, shown.board]) edges.observe(edge);
}
