// Evaluates the network beside the page, so that typing never waits. Messages in: {load: true}, then
// {job, tokens, scale, steps, seeds} (or `noise`, an array for each picture, in place of seeds); the newest job counts.
// Messages out: {loaded: bytes so far}, {ready: true}, {job, picture, x, left: steps to go}, {job, done: true}, {error}.
import * as ort from "./ort.wasm.min.mjs";
import { SHAPE, noise, walk } from "./walk.js";

let session, newest, busy = false, loaded = 0;

const bytesOf = async (name) => {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(`${name}: the server says ${answer.status}`);
  const parts = [];
  for (let reader = answer.body.getReader(), part; !(part = await reader.read()).done;) {
    parts.push(part.value);
    postMessage({ loaded: loaded += part.value.length });
  }
  return new Blob(parts);
};

const load = async () => {
  const [runtime, packed] = await Promise.all(["ort-wasm-simd-threaded.wasm", "student.onnx.gz"].map(bytesOf));
  const gzip = new Uint8Array(await packed.slice(0, 2).arrayBuffer())[0] === 0x1f; // else the server has unpacked it
  const model = gzip ? packed.stream().pipeThrough(new DecompressionStream("gzip")) : packed;
  ort.env.wasm.numThreads = 1; // more need headers that most hosts of files do not send
  ort.env.wasm.wasmBinary = await runtime.arrayBuffer();
  const bytes = new Uint8Array(await new Response(model).arrayBuffer());
  session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  postMessage({ ready: true });
};

const number = (value) => new ort.Tensor("float32", [value], [1]);

const draw = async ({ job, tokens, scale, steps, seeds, noise: given }) => {
  const caption = new ort.Tensor("int64", BigInt64Array.from(tokens, BigInt), [1, tokens.length]);
  const velocity = async (x, t, stride) => (await session.run({
    x: new ort.Tensor("float32", x, SHAPE), t: number(t), caption, scale: number(scale), stride: number(stride),
  })).v.data;
  const starts = given ?? seeds.map((seed) => noise(seed));
  for (const [picture, start] of starts.entries()) {
    let left = steps;
    for await (const x of walk(velocity, start, steps)) {
      postMessage({ job, picture, x, left: --left });
      await new Promise((resume) => setTimeout(resume)); // hear of a newer job
      if (newest.job !== job) return;
    }
  }
  postMessage({ job, done: true });
};

onmessage = async ({ data }) => {
  try {
    if (data.load) return await load();
    newest = data;
    if (busy) return;
    busy = true;
    for (let job; job !== newest;) await draw(job = newest);
    busy = false;
  } catch (error) {
    busy = false;
    postMessage({ error: String(error?.message ?? error) });
  }
};
