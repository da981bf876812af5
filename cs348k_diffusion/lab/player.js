// One module, used two ways. Inlined in a page it plays a recording (no kernel, no network); as an anywidget it draws
// what a running kernel sends. An inline script cannot export, so the only export is the last statement and is cut there.

const LIGHT = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#777777"];
const DARK = ["#56B4E9", "#F58B4A", "#2CC295", "#E39AC4", "#F2B84B", "#A6DBF7", "#D07A9F", "#AAAAAA"];
const LEVELS = 4095, MISSING = 65535, QUIET = { "data-lm-suppress-shortcuts": "true" }; // else JupyterLab takes the arrow keys

const make = (tag, name = "", attributes = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), { className: name });
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};

const inflate = async text => {
  const packed = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};

// The colours of the page at this moment: a recording made in the light theme is read in the dark one. A page that is
// seen from far away says in --tp-letters how many pixels high the words of axes are.
const theme = node => {
  const style = getComputedStyle(node), [r, g, b] = style.color.match(/[\d.]+/g).map(Number);
  const ink = alpha => `rgba(${r}, ${g}, ${b}, ${alpha})`;
  return { ink, rgb: [r, g, b], colours: r + g + b > 382 ? DARK : LIGHT, font: style.fontFamily, letters: parseFloat(style.getPropertyValue("--tp-letters")) || 11 };
};

const context = (canvas, width, height) => {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  return g;
};

const ticks = (low, high, wanted) => {
  const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough)), lead = rough / power;
  const gap = power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10), found = [];
  for (let k = Math.ceil(low / gap - 1e-6); k * gap <= high + 1e-6 * gap; k++) found.push(+(k * gap).toPrecision(6));
  return found;
};

// Where a chart of (wide, high) is drawn: left of it numbers of `digits` characters, below it numbers and `lines` more.
const inside = (wide, high, { letters }, digits, lines, right) => {
  const x = Math.round(letters * 0.6 * digits + 9), y = Math.max(4, Math.round(letters / 2 - 4));
  return { x, y, w: wide - x - right, h: high - y - Math.round(11 + letters * (1 + 1.25 * lines)), right };
};

// Hairlines, ticks and names around `box`; returns the two maps from data to pixels.
const axes = (g, box, [x0, x1, y0, y1], look, names = ["", ""]) => {
  const X = x => box.x + (x - x0) / (x1 - x0) * box.w, Y = y => box.y + box.h - (y - y0) / (y1 - y0) * box.h;
  const size = look.letters, within = (x, text) => Math.min(x, box.x + box.w + box.right - g.measureText(text).width / 2);
  g.font = `${size}px ${look.font}`;
  g.lineWidth = 1;
  g.strokeStyle = look.ink(0.22);
  g.fillStyle = look.ink(0.75);
  g.strokeRect(box.x + 0.5, box.y + 0.5, box.w - 1, box.h - 1);
  g.textAlign = "center";
  g.textBaseline = "top";
  for (const v of ticks(x0, x1, box.w / Math.max(62, 3.2 * size))) g.fillText(String(v), within(X(v), v), box.y + box.h + 5);
  g.fillText(names[0], box.x + box.w / 2, box.y + box.h + 5 + 1.25 * size);
  g.textAlign = "right";
  g.textBaseline = "middle";
  for (const v of ticks(y0, y1, box.h / Math.max(62, 2 * size))) g.fillText(String(v), box.x - 5, Y(v));
  g.fillText(names[1], box.x + box.w - 8, box.y + 5 + size / 2);
  return [X, Y];
};

const decode = (bytes, count, [x0, x1, y0, y1]) => {   // low bytes, then high bytes; x first, then y
  const at = k => bytes[k] + 256 * bytes[2 * count + k], points = new Float64Array(2 * count);
  for (let k = 0; k < count; k++) {
    const missing = at(k) === MISSING;
    points[2 * k] = missing ? NaN : x0 + (x1 - x0) * at(k) / LEVELS;
    points[2 * k + 1] = missing ? NaN : y0 + (y1 - y0) * at(count + k) / LEVELS;
  }
  return points;
};

const dot = (colour, radius, alpha, ratio) => {
  const side = Math.ceil(2 * radius * ratio) + 2, sprite = make("canvas");
  sprite.width = sprite.height = side;
  const g = sprite.getContext("2d");
  g.globalAlpha = alpha;
  g.fillStyle = colour;
  g.arc(side / 2, side / 2, radius * ratio, 0, 7);
  g.fill();
  return sprite;
};

const density = (background, look) => {   // a veil in the colour of the text: readable on either ground
  const { width, height, pixels } = background, ink = look.rgb.join();
  if (background.ink === ink) return background.veil;
  const image = new ImageData(width, height), canvas = Object.assign(make("canvas"), { width, height });
  for (let k = 0; k < width * height; k++) {
    const row = height - 1 - Math.floor(k / width);           // row 0 of the data is at the bottom
    for (let c = 0; c < 3; c++) image.data[4 * k + c] = look.rgb[c];
    image.data[4 * k + 3] = 0.42 * pixels[row * width + k % width];
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  Object.assign(background, { ink, veil: canvas });
  return canvas;
};

const drawPoints = (canvas, panel, past, limits) => {
  const look = theme(canvas), side = panel.size, g = context(canvas, side, side), ratio = window.devicePixelRatio || 1;
  const box = inside(side, side, look, 3, 0, 6);
  const half = Math.max((limits[1] - limits[0]) / box.w, (limits[3] - limits[2]) / box.h) / 2;   // equal axes
  const [cx, cy] = [(limits[0] + limits[1]) / 2, (limits[2] + limits[3]) / 2];
  const [X, Y] = axes(g, box, [cx - half * box.w, cx + half * box.w, cy - half * box.h, cy + half * box.h], look);
  g.save();
  g.beginPath();
  g.rect(box.x, box.y, box.w, box.h);
  g.clip();
  if (panel.background) {
    const [x0, x1, y0, y1] = panel.background.extent;
    g.drawImage(density(panel.background, look), X(x0), Y(y1), X(x1) - X(x0), Y(y0) - Y(y1));
  }
  const clouds = past.map(([bytes, at]) => decode(bytes, panel.count, at || limits)), now = clouds[clouds.length - 1];
  const colour = k => look.colours[(panel.classes ? panel.classes[k] : 0) % look.colours.length];
  for (let j = 1; j < clouds.length; j++) {
    g.lineWidth = 1.6;
    g.globalAlpha = 0.65 * j / clouds.length;
    for (let k = 0; k < panel.count; k++) {
      g.strokeStyle = colour(k);
      g.beginPath();
      g.moveTo(X(clouds[j - 1][2 * k]), Y(clouds[j - 1][2 * k + 1]));
      g.lineTo(X(clouds[j][2 * k]), Y(clouds[j][2 * k + 1]));
      g.stroke();
    }
  }
  g.globalAlpha = 1;
  const radius = Math.min(4.5, Math.max(1.4, 62 / Math.sqrt(panel.count))), alpha = panel.count < 60 ? 0.9 : 0.55, dots = {};
  for (let k = 0; k < panel.count; k++) {
    const sprite = dots[colour(k)] ??= dot(colour(k), radius, alpha, ratio), width = sprite.width / ratio;
    g.drawImage(sprite, X(now[2 * k]) - width / 2, Y(now[2 * k + 1]) - width / 2, width, width);
  }
  g.restore();
};

const drawImages = (canvas, panel, past) => {
  const { count, columns, height, width, channels } = panel, [bytes] = past[past.length - 1];
  const gap = count > 1 ? Math.max(1, Math.round(height / 14)) : 0, rows = Math.ceil(count / columns);
  const whole = make("canvas"), g0 = whole.getContext("2d");
  whole.width = columns * (width + gap) - gap;
  whole.height = rows * (height + gap) - gap;
  for (let k = 0; k < count; k++) {
    const tile = new ImageData(width, height), start = k * width * height * channels;
    for (let p = 0; p < width * height; p++) {
      for (let c = 0; c < 3; c++) tile.data[4 * p + c] = bytes[start + p * channels + (channels === 3 ? c : 0)];
      tile.data[4 * p + 3] = 255;
    }
    g0.putImageData(tile, (k % columns) * (width + gap), Math.floor(k / columns) * (height + gap));
  }
  const scale = Math.max(1, Math.floor((count > 1 ? panel.size : 0.7 * panel.size) / whole.width));
  const g = context(canvas, whole.width * scale, whole.height * scale);
  g.imageSmoothingEnabled = false;   // a pixel stays a pixel
  g.drawImage(whole, 0, 0, whole.width * scale, whole.height * scale);
};

// Raw losses thin, their running mean thick, and a mark where the pictures above were taken.
const drawCurve = (canvas, { step, loss, size }, mark) => {
  const look = theme(canvas), g = context(canvas, size, 170), box = inside(size, 170, look, 5, 1, 20);
  const reach = Math.ceil(loss.length / 40), smooth = loss.map((_, k) => {
    const near = loss.slice(Math.max(0, k - reach), k + reach + 1);
    return near.reduce((sum, v) => sum + v, 0) / near.length;
  });
  const top = Math.max(...smooth) * 1.08, bottom = Math.min(0, ...smooth);
  const right = Math.max(step[step.length - 1], step[0] + 1);
  const [X, Y] = axes(g, box, [0, right, bottom, top > bottom ? top : bottom + 1], look, ["step", "loss"]), last = loss[loss.length - 1];
  g.textBaseline = "bottom";   // the last loss, over the end of the curve
  g.fillText(String(+last.toPrecision(2)), box.x + box.w - 8, Math.max(Y(last) - 5, box.y + 5 + 2.2 * look.letters));
  g.save();
  g.beginPath();
  g.rect(box.x, box.y, box.w, box.h);
  g.clip();
  for (const [values, width, alpha] of [[loss, 1, 0.4], [smooth, 2.2, 1]]) {
    g.globalAlpha = alpha;
    g.strokeStyle = look.colours[0];
    g.lineWidth = width;
    g.beginPath();
    values.forEach((v, k) => g.lineTo(X(step[k]), Y(v)));
    g.stroke();
  }
  if (mark !== undefined) {
    g.strokeStyle = look.colours[1];
    g.lineWidth = 1.5;
    g.beginPath();
    g.moveTo(X(mark), box.y);
    g.lineTo(X(mark), box.y + box.h);
    g.stroke();
  }
  g.restore();
};

// Pictures with their names and captions, shared by both uses. `show(p, past, caption)` draws panel p.
const stage = async (root, spec) => {
  for (const panel of spec.panels)
    if (panel.background) panel.background = { ...panel.background, pixels: await inflate(panel.background.pixels) };
  const picture = (text, kind = "") => make("canvas", `tp-canvas ${kind}`, { role: "img", "aria-label": text });
  const panels = spec.panels.map(panel => ({
    panel, canvas: picture(panel.name ? `${panel.name}: ${spec.alt}` : spec.alt, `tp-${panel.kind}`),
    name: make("div", "tp-name", {}, panel.name || ""), caption: make("div", "tp-caption", {}, "\u00a0") }));
  const curve = picture(`loss against step: ${spec.alt}`);
  curve.hidden = true;
  const few = spec.panels.length < 4 ? "tp-few" : "", row = make("div", `tp-row ${few}`, {}, ...panels.map(p => make("div", "tp-panel", {}, ...(p.panel.name ? [p.name] : []), p.canvas, p.caption)));
  root.replaceChildren(...(spec.label ? [make("div", "tp-title", {}, spec.label)] : []), row, curve);
  let losses = null, mark;
  // not before the element is in the page, where it gets its colours: `followPage` draws it then
  const draw = ({ panel, canvas, past, limits }) => past && canvas.isConnected && (panel.kind === "points"
    ? drawPoints(canvas, panel, past, limits || panel.limits) : drawImages(canvas, panel, past));
  const drawLoss = () => losses && curve.isConnected && drawCurve(curve, losses, mark);
  return {
    show: (index, past, caption, limits) => {
      const p = Object.assign(panels[index], { past, limits });
      p.caption.textContent = caption || "\u00a0";
      p.canvas.setAttribute("aria-label", [p.panel.name, spec.alt, caption].filter(Boolean).join(": "));
      draw(p);
    },
    loss: (given, at) => {
      [losses, mark] = [given, at];
      curve.hidden = false;
      drawLoss();
    },
    redraw: () => { panels.forEach(draw); drawLoss(); },
  };
};

// Draw when the element comes into the page, and again when the theme changes.
const followPage = (root, redraw) => {
  root.tpRedraw = () => root.isConnected && requestAnimationFrame(redraw);
  new ResizeObserver(root.tpRedraw).observe(root);
  const weak = new WeakRef(root);   // an output that was cleared must not be kept alive by the page
  const observer = new MutationObserver(() => { const alive = weak.deref(); alive ? alive.tpRedraw() : observer.disconnect(); });
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light", "class"] });
};

const controls = (count, first, fps, label, show) => {
  const slider = make("input", "tp-slider", { ...QUIET, type: "range", min: 0, max: count - 1, step: 1, "aria-label": `Step of ${label}` });
  const button = make("button", "tp-button", { ...QUIET, type: "button" }), number = make("span", "tp-number");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let timer = 0;
  const go = index => { slider.value = index; number.textContent = `${index + 1} / ${count}`; show(index); };
  const pause = () => { clearTimeout(timer); timer = 0; button.textContent = "\u25b6 Play"; };
  const next = () => {
    timer = setTimeout(next, 1000 / (calm.matches ? Math.min(fps, 2) : fps));
    if (+slider.value >= count - 1 || !slider.isConnected) pause(); else go(+slider.value + 1);
  };
  button.onclick = () => {
    if (timer) return pause();
    button.textContent = "\u275a\u275a Pause";
    if (+slider.value >= count - 1) go(0);
    next();
  };
  slider.oninput = () => { pause(); go(+slider.value); };
  slider.onkeydown = event => {   // past the end: begin again
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key], index = +slider.value + step;
    if (index < 0 || index >= count) { event.preventDefault(); pause(); go((index + count) % count); }
  };
  pause();
  go(first);
  return make("div", "tp-controls", {}, button, slider, number);
};

const play = async (root, spec, payload) => {
  const bytes = await inflate(payload), { panels, curve } = spec, count = Math.max(0, ...panels.map(p => p.captions.length));
  const view = await stage(root, spec);
  let start = 0;
  for (const panel of panels) { panel.start = start; start += panel.bytes * panel.captions.length; }
  const show = index => {
    panels.forEach((panel, p) => {   // recordings of different lengths: the same fraction of each
      const last = panel.captions.length - 1, here = count > 1 ? Math.round(index * last / (count - 1)) : last, past = [];
      for (let k = Math.max(0, here - (panel.trail || 0)); k <= here; k++)
        past.push([bytes.subarray(panel.start + k * panel.bytes, panel.start + (k + 1) * panel.bytes)]);
      view.show(p, past, panel.captions[here]);
    });
    if (curve) view.loss(curve, curve.marks[index]);
  };
  if (count > 1) root.append(controls(count, spec.first, spec.fps, spec.label || spec.alt, show)); else show(0);
  followPage(root, view.redraw);
};

// ---- the other use: a widget that draws the latest frame its kernel sent

// Sliders of ipywidgets have a label beside them, and no name of their own.
const nameSliders = host => host.closest(".widget-vbox, .jupyter-widgets.widget-box")?.querySelectorAll(".widget-slider").forEach(row => {
  const name = row.querySelector("label")?.textContent;
  row.querySelectorAll("[role=slider]").forEach(handle => handle.setAttribute("aria-label", name));
  row.querySelectorAll("[contenteditable]").forEach(number => { number.setAttribute("role", "textbox"); number.setAttribute("aria-label", `${name}, typed`); });
});

const render = ({ model, el: host }) => {
  const root = make("div", "tp"), controls = make("div", "tp-controls"), trouble = make("pre", "tp-trouble", { role: "status" });
  const stop = make("button", "tp-button", { ...QUIET, type: "button" }, "\u25a0 Stop");
  stop.onclick = () => { stop.disabled = true; stop.textContent = "Stopping \u2026"; model.send({ type: "stop" }); };
  let view = null, latest = null, waiting = false, past = [];
  const draw = () => {
    waiting = false;
    if (!view || !latest) return;
    if (latest.frame) view.show(0, past, latest.caption, latest.limits);
    if (latest.curve) view.loss(latest.curve);
  };
  const build = async () => {
    const spec = model.get("spec");
    if (!spec.panels) return;
    view = await stage(root, structuredClone(spec));
    if (model.get("stop")) controls.replaceChildren(stop);
    root.append(controls, trouble);
    draw();
  };
  const receive = (message, buffers) => {
    nameSliders(host);
    trouble.textContent = message.error || "";
    if (message.error) return;
    if (message.frame) {
      const bytes = new Uint8Array(buffers[0].buffer, buffers[0].byteOffset, buffers[0].byteLength);
      past = [...past, [bytes, message.limits]].slice(-1 - (model.get("spec").panels[0].trail || 0));
    }
    latest = { ...latest, ...message };
    if (!waiting) { waiting = true; requestAnimationFrame(draw); }   // never more drawings than the screen shows
  };
  // a kernel that ends cannot say so; JupyterLab's connection to it can
  const kernel = model.widget_manager?.kernel;
  const lost = () => { trouble.textContent = "The kernel behind this has ended: run the cells above, then this one again."; };
  const follow = (_, status) => { if (/restarting|terminating|dead/.test(status)) lost(); };
  kernel?.statusChanged?.connect(follow);
  kernel?.disposed?.connect(lost);
  model.on("change:spec", build);
  model.on("msg:custom", receive);
  root.append(trouble);   // where the first picture fails there is no stage, and still something to say
  host.append(root);
  build();
  followPage(root, () => view && view.redraw());
  model.send({ type: "ready" });
  return () => {
    kernel?.statusChanged?.disconnect(follow);
    kernel?.disposed?.disconnect(lost);
    model.off("change:spec", build);
    model.off("msg:custom", receive);
  };
};

export default { render };
