// How the student draws: one step from time t to time s, as in sampling.py, on the cosine schedule. One picture.
//   x_s = alpha_s x0_hat + sigma_s eps_hat,   x0_hat = alpha_t x - sigma_t v,   eps_hat = (x - alpha_t x0_hat) / sigma_t
export const SHAPE = [1, 3, 32, 32];
const alpha = (t) => Math.sin((1 - t) * Math.PI / 2);
const sigma = (t) => Math.sin(t * Math.PI / 2);
const clip = (value) => Math.min(1, Math.max(-1, value));

// x after each step, from noise x at t = 1 to the picture at t = 0; velocity(x, t, stride) evaluates the network.
export async function* walk(velocity, x, steps) {
  for (let k = 0; k < steps; k++) {
    const [t, s] = [1 - k / steps, 1 - (k + 1) / steps];
    const v = await velocity(x, t, 1 / steps);
    x = x.map((value, i) => {
      const x0 = clip(alpha(t) * value - sigma(t) * v[i]);
      return alpha(s) * x0 + sigma(s) * (value - alpha(t) * x0) / sigma(t);
    });
    yield x;
  }
}

// Standard normal numbers from a seed: uniform ones by SplitMix32, two of which make two normal ones (Box and Muller).
export const noise = (seed, n = SHAPE.reduce((a, b) => a * b)) => {
  let state = seed | 0;
  const uniform = () => {
    state = (state + 0x9e3779b9) | 0;
    let z = state ^ (state >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (((z ^ (z >>> 15)) >>> 0) + 0.5) / 2 ** 32;
  };
  const made = new Float32Array(n);
  for (let k = 0; k < n; k += 2) {
    const [radius, angle] = [Math.sqrt(-2 * Math.log(uniform())), 2 * Math.PI * uniform()];
    made[k] = radius * Math.cos(angle);
    if (k + 1 < n) made[k + 1] = radius * Math.sin(angle);
  }
  return made;
};
