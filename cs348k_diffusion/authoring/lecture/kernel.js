"use strict";
/* Kernels of the Jupyter server that serves the deck, without Jupyter's own scripts; none where the deck is a file. */
const SERVER = LECTURE.token === null ? null : { token: LECTURE.token };

async function api(path, method = "GET", body = undefined) {
  const headers = { Authorization: `token ${SERVER.token}`, "Content-Type": "application/json" };
  const reply = await fetch(`/api/${path}`, { method, headers, body: body && JSON.stringify(body), keepalive: method === "DELETE" });
  if (!reply.ok) throw new Error(`${reply.status} from the server`);
  return reply.status === 204 ? null : reply.json();
}

class Kernel {
  constructor(id) {
    this.id = id; this.session = crypto.randomUUID?.() ?? String(Math.random()); this.waiting = new Map(); this.dead = false;
    this.seen = () => {}; this.lost = () => {};
    this.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/kernels/${id}/channels?session_id=${this.session}&token=${SERVER.token}`);
    this.open = new Promise((done, fail) => { this.failed = fail; this.socket.onopen = done; this.socket.onerror = () => fail(new Error("no answer")); });
    this.socket.onclose = () => this.die();
    this.socket.onmessage = (event) => this.hear(JSON.parse(event.data));
  }
  static async start() {
    const { id } = await api("kernels", "POST", { name: "python3" });
    const kernel = new Kernel(id);
    kernel.watch();
    await kernel.open;
    kernel.run("%xmode Minimal");  // else Stop waits until a long traceback is coloured that nobody sees
    return kernel;
  }
  /* A kernel that ends while it starts says nothing; the server has forgotten it. */
  async watch() {
    while (!this.dead) {
      await new Promise((done) => setTimeout(done, 500));
      await api(`kernels/${this.id}`).catch(() => this.die());
    }
  }
  run(code) {
    const id = crypto.randomUUID?.() ?? String(Math.random());
    const header = { msg_id: id, msg_type: "execute_request", username: "", session: this.session, version: "5.3", date: new Date().toISOString() };
    const content = { code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false, stop_on_error: false };
    this.socket.send(JSON.stringify({ header, parent_header: {}, metadata: {}, content, channel: "shell", buffers: [] }));
    return new Promise((done) => this.waiting.set(id, done));
  }
  hear(message) {
    const type = message.header?.msg_type, content = message.content;
    if (type === "display_data") this.seen(content.data);
    if (type === "error" && content.ename !== "KeyboardInterrupt") this.seen({ "text/plain": `${content.ename}: ${content.evalue}` });
    if (type === "status" && ["restarting", "dead"].includes(content.execution_state)) this.die();
    if (type === "execute_reply") { this.waiting.get(message.parent_header.msg_id)?.(content.status); this.waiting.delete(message.parent_header.msg_id); }
  }
  die() {
    if (this.dead) return;
    this.waiting.forEach((done) => done("dead")); this.waiting.clear();
    const lost = this.lost;
    this.failed(new Error("the kernel ended"));
    this.close();
    lost();
  }
  interrupt() { return api(`kernels/${this.id}/interrupt`, "POST").catch(() => {}); }
  async close() { this.dead = true; this.lost = this.seen = () => {}; this.socket.close(); await api(`kernels/${this.id}`, "DELETE").catch(() => {}); }
}

/* One kernel waits: it can show a page as soon as it knows the package, and goes on to import what only some demos need.
   Where it ends while it waits, another takes its place. */
let reserve = null;
function prepare() {
  if (!SERVER || reserve) return;
  const mine = reserve = Kernel.start().then(async (kernel) => { await kernel.run(LECTURE.warm[0]); return kernel; });
  mine.then(async (kernel) => {
    kernel.lost = () => { if (reserve === mine) { reserve = null; prepare(); } };
    for (const more of LECTURE.warm.slice(1)) if (reserve === mine) await kernel.run(more);
  }, () => { if (reserve === mine) reserve = null; });
}

/* The kernel in reserve, which is then no longer there; null where none could be started. */
async function taken() {
  prepare();
  const waiting = reserve;
  reserve = null;
  return waiting?.catch(() => null);
}
