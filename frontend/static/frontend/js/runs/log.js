// A log that grows keeps its end in view, unless its reader has scrolled up; and it holds still while text is marked.
const NEAR = 8;

const box = () => document.getElementById("log");
const atEnd = (log) => log.scrollHeight - log.clientHeight - log.scrollTop <= NEAR;

let place = null;

document.addEventListener("htmx:beforeRequest", (event) => {
  const marked = getSelection();
  if (!marked.isCollapsed && box()?.contains(marked.anchorNode)) event.preventDefault();
});

document.addEventListener("htmx:beforeSwap", () => {
  const log = box();
  place = log && !atEnd(log) ? log.scrollTop : null;
});

document.addEventListener("htmx:afterSwap", show);
show();

function show() {
  const log = box();
  if (log) log.scrollTop = place ?? log.scrollHeight;
}
