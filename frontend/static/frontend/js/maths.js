// Maths: TeX in `.math` elements, drawn by KaTeX, which is fetched once a page has any.
const KATEX = new URL("../../vendor/katex-0.19.1/", import.meta.url);
// Nothing of a formula links, loads, defines for the next one, or grows without end.
const SAFE = { trust: false, strict: "ignore", maxSize: 20, maxExpand: 200, output: "htmlAndMathml", errorColor: "currentColor" };
let fetching = null;

/** Draw what formulas `root` has. Resolves to how many; one that KaTeX cannot read stays as it was written. */
export async function drawMaths(root) {
  const formulas = root.querySelectorAll(".math:not([data-tex])");
  if (!formulas.length) return 0;
  try {
    await (fetching ??= fetchKatex());
  } catch {
    fetching = null;
    return 0;
  }
  for (const formula of formulas) {
    // Drawn meanwhile by who asked for it before.
    if ("tex" in formula.dataset) continue;
    const tex = formula.textContent;
    formula.dataset.tex = tex;
    const drawn = document.createElement("span");
    try {
      katex.render(tex, drawn, { ...SAFE, displayMode: formula.matches(".math-display") });
      formula.replaceChildren(...drawn.childNodes);
    } catch (error) {
      formula.title = `Not drawn: ${error.message}`;
    }
  }
  return formulas.length;
}

/** The HTML within `root` as the server sent it, formulas as TeX: what is drawn has inline styles, which no HTML may bring. */
export function htmlWithTex(root) {
  const copy = root.cloneNode(true);
  for (const formula of copy.querySelectorAll(".math[data-tex]")) {
    formula.textContent = formula.dataset.tex;
    formula.removeAttribute("data-tex");
    formula.removeAttribute("title");
  }
  return copy.innerHTML;
}

function fetchKatex() {
  const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: new URL("katex.min.css", KATEX) });
  const script = Object.assign(document.createElement("script"), { src: new URL("katex.min.js", KATEX) });
  document.head.append(style, script);
  return Promise.all([style, script].map((element) => new Promise((resolve, reject) => Object.assign(element, { onload: resolve, onerror: reject }))));
}
