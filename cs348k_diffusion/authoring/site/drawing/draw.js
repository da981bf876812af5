// The page: what is typed goes to the worker, what comes back is painted. Nothing is loaded before the click.
(() => {
  const at = (name) => document.getElementById(`drawing-${name}`);
  const [form, PICTURES, WAIT] = [document.getElementById("drawing"), 4, 120]; // milliseconds after a key
  const { tokens } = sentences(JSON.parse(at("grammar").textContent));
  let worker, job = 0, seed = 1, began = 0, timer;

  const canvases = Array.from({ length: PICTURES }, (_, k) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 32, height: 32 });
    canvas.setAttribute("role", "img");
    at("pictures").append(canvas);
    return canvas;
  });
  const name = (k, what) => canvases[k].setAttribute("aria-label", `picture ${k + 1}: ${what}`);
  canvases.forEach((_, k) => name(k, "not drawn yet"));

  const say = (text, wrong = false) => {
    at("said").textContent = text;
    at("sentence").setAttribute("aria-invalid", String(wrong));
    at("pictures").classList.toggle("stale", wrong);
  };

  const paint = (canvas, x) => {
    const pixels = new ImageData(32, 32);
    for (let k = 0; k < 1024; k++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * k + c] = 127.5 * (x[1024 * c + k] + 1); // clamped and rounded
      pixels.data[4 * k + 3] = 255;
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  };

  const ask = () => {
    const [sentence, steps, scale] = [at("sentence").value, Number(at("steps").value), Number(at("scale").value)];
    at("scale-said").textContent = scale;
    try {
      const seeds = canvases.map((_, k) => seed + k);
      job += 1;
      began = performance.now();
      worker.postMessage({ job, tokens: tokens(sentence), scale, steps, seeds });
      form.dataset.state = "drawing";
    } catch (error) {
      form.dataset.state = "wrong";
      say(error.message, true);
    }
  };
  const soon = () => { clearTimeout(timer); timer = setTimeout(ask, WAIT); };

  const heard = {
    loaded: ({ loaded }) => { at("progress").value = loaded / Number(form.dataset.bytes); },
    ready: () => {
      at("loading").hidden = true;
      at("controls").disabled = false;
      at("sentence").focus();
      ask();
    },
    picture: (data) => {
      if (data.job !== job) return;
      paint(canvases[data.picture], data.x);
      if (!data.left) name(data.picture, at("sentence").value);
      at("pictures").classList.remove("stale");
    },
    done: (data) => {
      if (data.job !== job) return;
      const [n, seconds] = [at("steps").value, ((performance.now() - began) / 1000 / PICTURES).toFixed(2)];
      form.dataset.state = "drawn";
      say(`Four pictures, ${n} evaluation${n === "1" ? "" : "s"} each, ${seconds} s a picture.`);
    },
    error: ({ error }) => {
      at("loading").hidden = true;
      at("start").hidden = Boolean(job);
      say(`The model could not be loaded: ${error}`);
    },
  };

  at("load").onclick = () => {
    at("start").hidden = true;
    at("loading").hidden = false;
    worker = new Worker("_static/drawing/worker.js", { type: "module" });
    worker.onmessage = ({ data }) => heard[Object.keys(heard).find((kind) => kind in data)](data);
    worker.onerror = () => heard.error({ error: "this browser runs no module workers" });
    worker.postMessage({ load: true });
  };
  form.onsubmit = (event) => { event.preventDefault(); if (worker) ask(); };
  at("sentence").oninput = soon;
  at("steps").onchange = ask;
  at("scale").oninput = soon;
  at("again").onclick = () => { seed += PICTURES; ask(); };
  if (location.protocol === "file:") {
    at("disk").hidden = false;
    at("load").disabled = true;
  }
})();
