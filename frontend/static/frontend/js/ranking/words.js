// The words of a rendered text and where they stand in it, and marks around some of them.

// Scripts without spaces between words are taken letter by letter; a formula is one word.
const UNSPACED = "[\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}]";
const LETTERS = `(?:(?!${UNSPACED})[\\p{L}\\p{N}\\p{M}_])+`;
const WORD = new RegExp(`${UNSPACED}\\p{M}*|${LETTERS}(?:['’]${LETTERS})*|[^\\s\\p{L}\\p{N}]`, "gu");
const SPOKEN = /[\p{L}\p{N}]/u;

/** Words and signs of what `root` shows, in order: `{ text, node, start, end, spoken }`, or `{ text, formula, spoken }`. */
export function wordsOf(root) {
  const words = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT, (node) => {
    if (node.nodeType === Node.TEXT_NODE) return NodeFilter.FILTER_ACCEPT;
    if (node.matches(".visually-hidden, [data-cut]")) return NodeFilter.FILTER_REJECT;
    if (node.matches(".math")) {
      words.push({ text: `\\(${node.dataset.tex ?? node.textContent}\\)`, formula: node, spoken: true });
      return NodeFilter.FILTER_REJECT;
    }
    return NodeFilter.FILTER_SKIP;
  });
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    for (const { 0: text, index } of node.data.matchAll(WORD)) {
      words.push({ text, node, start: index, end: index + text.length, spoken: SPOKEN.test(text) });
    }
  }
  return words;
}

/** Puts `<ins class="differs">` around the words whose flag is 0. Returns what takes the marks off again. */
export function mark(words, flags) {
  const undone = [];
  const runs = new Map();
  words.forEach(({ formula, node, start, end }, index) => {
    if (formula) {
      formula.classList.toggle("differs", !flags[index]);
      undone.push(() => formula.classList.remove("differs"));
      return;
    }
    if (flags[index]) return;
    const ofNode = runs.get(node) ?? [];
    runs.set(node, ofNode);
    const last = ofNode.at(-1);
    // Words next to each other are marked as one, with the space between them.
    if (last?.index === index - 1) Object.assign(last, { index, end });
    else ofNode.push({ index, start, end });
  });
  for (const [node, ofNode] of runs) {
    const pieces = [];
    let at = 0;
    for (const { start, end } of ofNode) {
      if (start > at) pieces.push(node.data.slice(at, start));
      const differs = document.createElement("ins");
      differs.className = "differs";
      differs.textContent = node.data.slice(start, end);
      pieces.push(differs);
      at = end;
    }
    if (at < node.length) pieces.push(node.data.slice(at));
    const nodes = pieces.map((piece) => (typeof piece === "string" ? document.createTextNode(piece) : piece));
    node.replaceWith(...nodes);
    undone.push(() => {
      nodes[0].before(node);
      for (const each of nodes) each.remove();
    });
  }
  return () => {
    for (const undo of undone) undo();
  };
}
