/* What the audience sees of the deck's page that is open, looked at letter by letter, in pictures too. */

// What is written on a canvas since it was last cleared, in its own pixels.
const width = Object.getOwnPropertyDescriptor(HTMLCanvasElement.prototype, "width");
Object.defineProperty(HTMLCanvasElement.prototype, "width", {
  ...width, set(value) { this.written = []; width.set.call(this, value); },
});
const fillText = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  const { a, e, d, f } = this.getTransform(), told = this.measureText(text);
  if (String(text).trim()) (this.canvas.written ??= []).push({
    text: String(text), size: a * parseFloat(this.font.match(/[\d.]+px/)[0]),
    left: a * (x - told.actualBoundingBoxLeft) + e, right: a * (x + told.actualBoundingBoxRight) + e,
    top: d * (y - told.actualBoundingBoxAscent) + f, bottom: d * (y + told.actualBoundingBoxDescent) + f,
  });
  fillText.call(this, text, x, y);
};

// Sentences on what is amiss: letters below `least` pixels, or in pictures below `inCharts`, and what is cut off.
window.amiss = (least, inCharts) => {
  const page = document.querySelector(".page:not([hidden])"), box = node => node.getBoundingClientRect();
  return [...words(page, least), ...films(page), ...charts(page, inCharts), ...layout(page, least, box)];
};

const outside = (inner, outer) =>
  inner.right > outer.right + 1 || inner.bottom > outer.bottom + 1 || inner.left < outer.left - 1 || inner.top < outer.top - 1;
const screen = () => ({ left: 0, top: 0, right: innerWidth, bottom: innerHeight });

function* words(page, least) {
  const texts = document.createTreeWalker(page, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode, node = text.parentElement, range = document.createRange();
    range.selectNodeContents(text);
    const box = range.getBoundingClientRect();
    if (!text.textContent.trim() || ["STYLE", "SCRIPT"].includes(node.tagName) || box.width < 2) continue;
    let zoom = 1;
    for (let each = node; each; each = each.parentElement) zoom *= parseFloat(getComputedStyle(each).zoom) || 1;
    const size = parseFloat(getComputedStyle(node).fontSize) * zoom;
    if (size < least - 0.5) yield `small, ${size}: ${text.textContent}`;
    if (outside(box, screen())) yield `outside: ${text.textContent}`;
  }
}

function* films(page) {
  for (const node of page.querySelectorAll("img, canvas, input, button"))
    if (node.getClientRects().length && outside(node.getBoundingClientRect(), screen())) yield `outside: ${node.outerHTML}`;
  const film = page.querySelector(".film:not([hidden])")?.getBoundingClientRect();
  if (film) for (const node of page.querySelectorAll(".film :is(img, canvas, input, button, span, .tp-caption)")) {
    const inner = node.getBoundingClientRect();
    if (inner.width && outside(inner, film)) yield `cut off: ${node.className} ${node.textContent}`;
  }
}

function* charts(page, least) {
  for (const canvas of page.querySelectorAll("canvas")) {
    const scale = canvas.getBoundingClientRect().width / canvas.width;
    if (scale) for (const { text, size, left, right, top, bottom } of canvas.written ?? []) {
      if (size * scale < least - 0.5) yield `small in a chart, ${size * scale}: ${text}`;
      if (left < -1 || right > canvas.width + 1 || top < -1 || bottom > canvas.height + 1) yield `cut off in a chart: ${text}`;
    }
  }
  for (const image of page.querySelectorAll(".film img")) {
    const scale = image.getBoundingClientRect().width / image.getAttribute("width"), letters = Number(image.dataset.letters);
    if (letters && letters * scale < least - 0.5) yield `small in a figure, ${letters * scale}`;
    // tiles and pieces are pictures cut out between their labels, and a film's poster is dots
    if (!letters && !image.closest(".tiles, .pieces, .tp")) yield `who knows how large its letters are: ${image.alt}`;
  }
}

function* layout(page, least, box) {
  const spread = numbers => Math.max(...numbers) - Math.min(...numbers);
  for (const row of page.querySelectorAll(".tp-few")) {  // panels side by side: names end, pictures begin at one height
    const ends = [...row.querySelectorAll(".tp-name")].map(one => box(one).bottom);
    const tops = [...row.querySelectorAll(".tp-canvas")].map(one => box(one).top);
    const words = [...row.querySelectorAll(".tp-caption")].map(one => box(one).top);
    if ([ends, tops, words].some(each => spread(each) > 1)) yield `uneven: ${[ends, tops, words].join(" | ")}`;
  }
  const parts = [...page.querySelectorAll("h1, .say li, .formula .fitted, .film .fitted")].map(one => [one, box(one)]);
  for (const [one, a] of parts) for (const [other, b] of parts) {
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    if (one !== other && across > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0.2 * least)
      yield `on top of each other: ${one.textContent} and ${other.textContent}`.slice(0, 200);
  }
  const lowest = Math.max(...parts.map(([, each]) => each.bottom));
  if (lowest < 0.72 * innerHeight) yield `empty below ${lowest / innerHeight}`;
}
