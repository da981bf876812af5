/* The deck: pages, keys, and live demos in kernels of a Jupyter server. */
const pages = [...document.querySelectorAll(".page")];
const $ = (selector, root = pages[now]) => root.querySelector(selector);
let now = 0, typedNumber = "";

// ---- pages --------------------------------------------------------------------------------------------------------

function go(to) {
  to = Math.max(0, Math.min(pages.length - 1, to));
  if (to !== now) leave();
  pages.forEach((page, k) => { page.hidden = k !== to; });
  now = to;
  try { history.replaceState(null, "", location.pathname + location.search + "#" + (to + 1)); } catch { /* from a file */ }
  fitAll();
  tellNotes();
}

function rem() { return parseFloat(getComputedStyle(document.documentElement).fontSize); }

/* Enlarge what was stored until it fills its box; its own words are set so that they are 1rem on the screen. */
function enlarge(inner) {
  let low = 0.2, high = 8;
  for (let k = 0; k < 12; k++) {
    const zoom = (low + high) / 2;
    if (fits(inner, zoom)) low = zoom; else high = zoom;
  }
  fits(inner, low);
  return low;
}

function fits(inner, zoom) {
  const box = inner.parentElement;
  inner.style.zoom = zoom;
  inner.style.maxWidth = `${box.clientWidth / zoom}px`;
  inner.style.setProperty("--words", `${rem() / zoom}px`);
  const { left, width, height } = inner.getBoundingClientRect();
  const rights = [...inner.querySelectorAll("canvas, img, .tp-number")].map((one) => one.getBoundingClientRect().right - left);
  return Math.max(width, ...rights) <= box.clientWidth + 0.5 && height <= box.clientHeight + 0.5;
}

function fitAll() {
  for (const inner of pages[now].querySelectorAll(".formula .fitted")) fitFormula(inner);
  const film = pages[now].querySelector(".film:not([hidden]) .fitted"), split = pages[now].querySelector(".split");
  if (!film) return;
  split.style.setProperty("--say", "1rem");
  const sizes = [false, true].map((stacked) => { split.classList.toggle("stacked", stacked); return enlarge(film); });
  if (sizes[0] >= sizes[1]) split.classList.remove("stacked");  // words beside it, or above it
  growWords(split, film, Math.max(...sizes));
  const player = film.querySelector(".tp");
  player?.tpRedraw?.();
  if (player) grown.observe(player, { childList: true });
  recolour(film);
  setTimeout(() => recolour(film), 100);  // again: by then its player has drawn it
}

/* A player gets its pictures and its button when it has unpacked its frames: then it needs more room. */
const grown = new MutationObserver(() => { grown.disconnect(); fitAll(); });

/* Room that the film cannot use, because it is as wide as the window, goes to the words. */
function growWords(split, film, zoom) {
  const say = split.querySelector(".say");
  for (const size of [1.8, 1.5, 1.25, 1]) {
    split.style.setProperty("--say", `${size}rem`);
    if (fits(film, 0.98 * zoom) && say.scrollHeight <= say.clientHeight + 1 && say.scrollWidth <= say.clientWidth) break;
  }
  enlarge(film);
}

function fitFormula(inner) {
  inner.style.fontSize = "1.4rem";
  const room = inner.closest(".formulas").clientWidth;
  const wide = inner.getBoundingClientRect().width;
  if (wide > room) inner.style.fontSize = `${Math.max(1, 1.4 * room / wide)}rem`;
}

function dark() { return document.documentElement.dataset.theme === "dark"; }
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  document.body.dataset.jpThemeName = name;  // players watch this, and draw in the colours of the page
  recolour(document);
}

/* In the dark, a chart on white paper is inverted; the paper between pictures lets the page through as it is. */
function recolour(root) {
  for (const node of root.querySelectorAll(".film :is(img, canvas.tp-images), .picture img")) {
    if (!node.getClientRects().length || !(node.naturalWidth ?? node.width)) continue;
    node.classList.toggle("chart", white(node) > 0.5);
  }
}

/* The share of a picture that is white. */
function white(node) {
  const g = Object.assign(document.createElement("canvas"), { width: 48, height: 48 }).getContext("2d");
  g.drawImage(node, 0, 0, 48, 48);
  const { data } = g.getImageData(0, 0, 48, 48);
  let count = 0;
  for (let k = 0; k < data.length; k += 4) count += Math.min(data[k], data[k + 1], data[k + 2]) > 235 && data[k + 3] > 128;
  return count / (data.length / 4);
}

setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

// ---- the stored film ----------------------------------------------------------------------------------------------

function scrub(by) {
  const slider = $(".film input[type=range]");
  if (!slider) return;
  slider.value = Number(slider.value) + by;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}

function playFilm() { const button = $(".film button"); if (button) button.click(); }

// ---- a live page --------------------------------------------------------------------------------------------------

let live = null;

async function goLive() {
  const place = $(".live");
  if (!place) return;
  const state = $(".state");
  if (!SERVER) { state.textContent = "live only by `cs348k lecture`"; return; }
  leave();
  const mine = live = { place, kernel: null, busy: false, next: undefined, seen: false, held: false };
  $(".film").hidden = true; place.hidden = false;
  state.textContent = "starting";
  const demo = LECTURE.demos[place.dataset.demo];
  makeControl(place, demo.control, (value) => ask(mine, value));
  await connect(mine, demo, true);
}

/* A kernel for a live page: the one in reserve, or a new one where that turns out to be gone before it showed anything. */
async function connect(mine, demo, fromReserve) {
  const state = mine.place.closest(".page").querySelector(".state");
  const lost = (why) => {
    if (live !== mine) return;
    if (fromReserve && !mine.seen) { mine.kernel = null; mine.busy = false; connect(mine, demo, false); return; }
    state.textContent = `${why}: L begins anew`;
    backToFilm(mine.place);
    live = null;
    prepare();
  };
  try {
    let kernel = null;
    if (fromReserve) kernel = await taken();
    if (!kernel || kernel.dead) kernel = await Kernel.start();
    if (live !== mine) { kernel.close(); return; }
    mine.kernel = kernel;
    kernel.seen = (data) => { if (live === mine && !mine.held) { mine.seen = true; draw(mine.place, data); } };
    kernel.lost = () => lost("the kernel is gone");
    if (await kernel.run(demo.code) !== "dead" && live === mine) ask(mine, demo.control.first);
  } catch (error) {
    lost(error.message);
  }
}

function backToFilm(place) {
  place.hidden = true;
  place.parentElement.querySelector(".film").hidden = false;
  fitAll();
}

async function ask(mine, value) {
  mine.next = value;
  mine.held = false;
  if (mine.busy || !mine.kernel) { if (mine.kernel) mine.kernel.interrupt(); return; }
  mine.busy = true;
  const state = mine.place.closest(".page").querySelector(".state");
  while (mine.next !== undefined && live === mine) {
    const value = mine.next;
    mine.next = undefined;
    state.textContent = "live";
    const status = await mine.kernel.run(`demo(${JSON.stringify(value)})`);
    if (live === mine) state.textContent = status === "ok" ? "live" : "stopped";
  }
  mine.busy = false;
  prepare();  // not before: the next kernel would take this one's processor
}

/* The picture stands still at once; the kernel ends what it computes when it can. */
function stop() {
  if (!live?.busy) return;
  live.next = undefined;
  live.held = true;
  $(".state").textContent = "stopping";
  live.kernel.interrupt();
}

function leave() {
  if (!live) return;
  const old = live;
  live = null;
  old.place.closest(".page").querySelector(".state").textContent = "";
  backToFilm(old.place);
  old.kernel?.close();
  prepare();
}

function draw(place, data) {
  const picture = data["image/png"], words = data["text/plain"] ?? "";
  const image = place.querySelector("img");
  place.classList.toggle("told", !picture && !image.getAttribute("src"));
  if (picture) {
    image.onload = () => recolour(place);
    image.src = `data:image/png;base64,${picture}`;
    image.classList.add("whole");
    image.alt = words || "What the demo draws";
    place.classList.remove("told");
  }
  say(place, words);
}

/* Words below a picture, or, where there is none, as large as the page holds them. */
function say(place, words) {
  const node = place.querySelector(".words");
  node.textContent = words;
  for (const size of place.classList.contains("told") ? [1.8, 1.5, 1.25, 1] : [1]) {
    node.style.fontSize = `${size}rem`;
    if (node.scrollHeight <= node.clientHeight + 1 && node.scrollWidth <= node.clientWidth) break;
  }
}

function makeControl(place, control, changed) {
  const root = place.querySelector(".control");
  root.replaceChildren();
  place.querySelector("img").removeAttribute("src");
  say(place, "");
  if (control.kind === "buttons") {
    for (const choice of control.choices) {
      const button = document.createElement("button");
      button.textContent = String(choice).replaceAll("_", " ");
      button.setAttribute("aria-pressed", choice === control.first);
      button.onclick = () => {
        root.querySelectorAll("button").forEach((one) => one.setAttribute("aria-pressed", one === button));
        changed(choice);
      };
      root.append(button);
    }
    return;
  }
  const label = document.createElement("label"), input = document.createElement("input"), shown = document.createElement("output");
  const name = document.createElement("span");
  name.textContent = control.name;
  input.value = control.first;
  if (control.kind === "slider") {
    [input.min, input.max, input.step] = control.choices;
    input.type = "range"; input.value = control.first; shown.textContent = control.first;
    input.oninput = () => { shown.textContent = input.value; changed(Number(input.value)); };
    label.append(name, input, shown);
  } else {
    input.type = "text"; input.setAttribute("aria-label", control.name);
    input.oninput = () => changed(input.value);
    label.append(input);
  }
  root.append(label);
  if (control.kind === "text") input.focus();
}

// ---- keys ---------------------------------------------------------------------------------------------------------

function showCode() {
  const dialog = document.getElementById("code"), name = pages[now].querySelector(".live")?.dataset.demo;
  dialog.querySelector("pre").textContent = name ? LECTURE.demos[name].shown : "This page has no code.";
  dialog.open ? dialog.close() : dialog.showModal();
}

function showKeys() { const dialog = document.getElementById("keys"); dialog.open ? dialog.close() : dialog.showModal(); }

const KEYS = {
  PageDown: () => go(now + 1), PageUp: () => go(now - 1), " ": () => go(now + 1), ArrowRight: () => go(now + 1), ArrowLeft: () => go(now - 1),
  Home: () => go(0), End: () => go(pages.length - 1), l: goLive, s: stop, c: showCode, n: openNotes, r: restartClock, "?": showKeys,
  t: () => setTheme(dark() ? "light" : "dark"), ",": () => scrub(-1), ".": () => scrub(1), p: playFilm,
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target instanceof HTMLInputElement, text = field && event.target.type === "text";
  if (text && !["PageDown", "PageUp", "Escape"].includes(event.key)) return;
  if (text && event.key === "Escape") { event.target.blur(); stop(); return; }  // S is a letter here
  if (field && ["ArrowRight", "ArrowLeft", "Home", "End"].includes(event.key)) return;
  if (event.target instanceof HTMLButtonElement && event.key === " ") return;
  if (/^[0-9]$/.test(event.key)) { typedNumber += event.key; return; }
  if (event.key === "Enter" && typedNumber) { go(Number(typedNumber) - 1); typedNumber = ""; event.preventDefault(); return; }
  typedNumber = "";
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (action) { event.preventDefault(); action(); }
});
addEventListener("resize", fitAll);

/* The page that the address names, and a kernel for the first that goes live. */
function begin() {
  addEventListener("pagehide", () => { live?.kernel?.close(); reserve?.then((kernel) => kernel.close(), () => {}); });
  go((Number(location.hash.slice(1)) || 1) - 1);
  requestAnimationFrame(fitAll);
  prepare();
  reserve?.catch(() => { $(".state").textContent = "no kernel could be started"; });
}
