/* The speaker's window: this page once more, with ?notes, and in it, with ?next, the slide that comes. Windows speak by
   messages alone, which files may send, too; each can be loaded again at any time. */
const ROLE = location.search.slice(1);
let notes = null;

// ---- the deck -----------------------------------------------------------------------------------------------------

/* When the lecture began, kept for a deck that is loaded again. */
const clock = {
  get began() { try { return Number(sessionStorage.began ??= Date.now()); } catch { return this.opened; } },
  set began(time) { this.opened = time; try { sessionStorage.began = time; } catch { /* from a file */ } },
  opened: Date.now(),
};

function openNotes() {
  if (notes && !notes.closed) { notes.focus(); return; }
  notes = window.open(location.pathname + "?notes", "_blank", "width=1000,height=760");
  if (!notes) $(".state").textContent = "the browser blocked the notes: allow windows of this page";
}

function tellNotes() { if (notes && !notes.closed) notes.postMessage({ page: now, began: clock.began }, "*"); }

function restartClock() { clock.began = Date.now(); tellNotes(); }

function serveNotes() {
  addEventListener("message", ({ source, data }) => {
    if (source?.opener !== window) return;
    notes = source;  // a deck that was loaded again hears of its notes here
    if (data.key) dispatchEvent(new KeyboardEvent("keydown", { key: data.key }));
    tellNotes();
  });
}

// ---- the notes ----------------------------------------------------------------------------------------------------

function beNotes() {
  document.title = "Notes";
  document.body.className = "notes";
  document.body.innerHTML = `<main><p id="clock" role="timer"></p><h1 id="title"></h1><p id="notes"></p>
    <h2>Next: <span id="next"></span></h2><iframe title="The next slide" tabindex="-1"></iframe>
    <p>Both scripts: <code>cs348k lecture --script 80</code>, or <code>10</code>; docs/lecture.md has them, too.</p></main>`;
  document.querySelector("iframe").src = location.pathname + "?next";
  let told = { page: 0, began: Date.now() }, heard = Date.now();
  const show = () => showNotes(told, Date.now() - heard > 5000);
  addEventListener("message", ({ source, data }) => {
    if (source === opener) { told = data; heard = Date.now(); }
    show();
  });
  addEventListener("keydown", (event) => {
    event.stopPropagation();  // the keys of a deck are not for this window
    if (event.ctrlKey || event.metaKey || event.altKey || ["n", "N", "ArrowDown", "ArrowUp", "Tab"].includes(event.key)) return;
    event.preventDefault();
    opener?.postMessage({ key: event.key }, "*");  // a clicker works whichever window is in front
  }, { capture: true });
  const ask = () => { opener?.postMessage({}, "*"); show(); };
  setInterval(ask, 1000);
  ask();
}

function showNotes({ page, began }, alone) {
  const put = (id, text) => { const place = document.getElementById(id); if (place.textContent !== text) place.textContent = text; };
  const spent = Math.floor((Date.now() - began) / 1000), two = (n) => String(n).padStart(2, "0");
  const time = (s) => `${Math.floor(s / 60)}:${two(s % 60)}`, { notes } = LECTURE;
  const planned = (name) => time(notes.slice(0, page + 1).reduce((sum, each) => sum + each[name], 0));
  const short = notes[page].short ? planned("short") : "leave it out";
  put("clock", alone ? "The deck does not answer: open it, and press N there."
    : `${new Date().toLocaleTimeString()}   spent ${time(spent)}, planned to the end of this page ${planned("seconds")}; in ten minutes: ${short}`);
  put("title", `${page + 1}. ${notes[page].title}`);
  put("notes", notes[page].notes);
  put("next", page + 1 < notes.length ? notes[page + 1].title : "the end");
  const frame = document.querySelector("iframe");
  frame.hidden = page + 1 === notes.length;
  frame.contentWindow.postMessage({ page: page + 1 }, "*");
}

// ---- the slide that comes -----------------------------------------------------------------------------------------

function beNext() {
  document.body.className = "next";
  addEventListener("message", ({ source, data }) => { if (source === parent && data.page !== now && data.page < pages.length) go(data.page); });
  go(0);
}

({ notes: beNotes, next: beNext })[ROLE]?.();
if (!ROLE) { serveNotes(); begin(); }
