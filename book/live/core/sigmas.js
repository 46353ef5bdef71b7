/** Noise levels and K-LMS, as in sdlesson/sigmas.py: x = x0 + sigma * noise. Levels are float64, latents float32. */

import { LiveError } from "./errors.js";

/**
 * Evenly spread numbers from `first` to `last`, both among them.
 * @param {number} first
 * @param {number} last
 * @param {number} count
 */
const linspace = (first, last, count) =>
  Array.from({ length: count }, (_, i) => (count === 1 ? first : first + ((last - first) * i) / (count - 1)));

/** The training's noise levels, rising, one for each of 1000 timesteps: "scaled_linear" betas from 0.00085 to 0.012. */
export function training_sigmas() {
  let abar = 1;
  return linspace(Math.sqrt(0.00085), Math.sqrt(0.012), 1000).map((root) => {
    abar *= 1 - root * root;
    return Math.sqrt((1 - abar) / abar);
  });
}

/**
 * Timesteps from the noisiest to 0: 999, 946.42, 893.84 ... for 20 steps.
 * @param {number} num_inference_steps
 */
export const timesteps = (num_inference_steps) => linspace(0, 999, num_inference_steps).reverse();

/**
 * The noise level at a timestep, between two of the training's on a straight line.
 * @param {number} timestep 0 ... 999
 * @param {number[]} levels
 */
function sigma_of(timestep, levels) {
  const i = Math.min(Math.floor(timestep), levels.length - 2);
  return levels[i] + (levels[i + 1] - levels[i]) * (timestep - i);
}

/**
 * The timestep whose noise level is `sigma`: sigma_of read the other way round.
 * @param {number} sigma
 * @param {number[]} levels
 */
export function timestep_of(sigma, levels) {
  const above = levels.findIndex((level) => level >= sigma);
  if (above <= 0) return above === 0 ? 0 : levels.length - 1;
  return above - 1 + (sigma - levels[above - 1]) / (levels[above] - levels[above - 1]);
}

/**
 * The noise levels of a run, falling and ending in 0, and the timesteps that the UNet is told. "linspace": levels at
 * evenly spread timesteps; "karras": levels whose 7th roots run evenly (Karras et al. 2022, equation 5).
 * @param {number} num_inference_steps 1 ... 100; "karras" needs 2
 * @param {"linspace" | "karras"} kind
 */
export function schedule(num_inference_steps, kind = "linspace") {
  const levels = training_sigmas();
  let times = timesteps(num_inference_steps);
  let sigmas = times.map((timestep) => sigma_of(timestep, levels));
  if (kind === "karras") {
    if (num_inference_steps < 2) throw new LiveError("Karras' noise levels need 2 steps or more.");
    const [first, last] = [levels[levels.length - 1] ** (1 / 7), levels[0] ** (1 / 7)];
    sigmas = linspace(first, last, num_inference_steps).map((root) => root ** 7);
    times = sigmas.map((sigma) => timestep_of(sigma, levels));
  }
  return { sigmas: [...sigmas, 0], timesteps: times };
}

/**
 * How wide the noise is made before the first step: the highest level.
 * @param {number[]} sigmas
 */
export const init_noise_sigma = (sigmas) => sigmas[0];

/**
 * What the UNet was trained to see: standard deviation about 1 at every level.
 * @param {Float32Array} x
 * @param {number} sigma
 */
export const scale_model_input = (x, sigma) => x.map((value) => value / Math.sqrt(sigma ** 2 + 1));

/**
 * The noiseless latents that the guess `output` of the noise implies.
 * @param {Float32Array} x
 * @param {Float32Array} output
 * @param {number} sigma
 */
export const pred_original = (x, output, sigma) => x.map((value, k) => value - sigma * output[k]);

/**
 * The weights of the last slopes in step i, newest first: exact integrals of Lagrange's polynomials over the step.
 * @param {number[]} sigmas different ones
 * @param {number} i
 * @param {number} order 1 is Euler's method
 */
export function lms_coefficients(sigmas, i, order = 4) {
  const past = sigmas.slice(Math.max(0, i + 1 - order), i + 1).reverse();
  const step = sigmas[i + 1] - past[0];
  const nodes = past.map((sigma) => (sigma - past[0]) / step); // in units of the step, from sigma_i
  return nodes.map((_, k) => step * basis_integral(nodes, k));
}

/**
 * The integral from 0 to 1 of the polynomial that is 1 at node k and 0 at the others.
 * @param {number[]} nodes
 * @param {number} k
 */
function basis_integral(nodes, k) {
  let polynomial = [1]; // ascending powers
  let height = 1;
  for (const node of nodes.filter((_, other) => other !== k)) {
    polynomial = [0, ...polynomial].map((low, power) => low - node * (polynomial[power] ?? 0));
    height *= nodes[k] - node;
  }
  return polynomial.reduce((sum, weight, power) => sum + weight / (power + 1), 0) / height;
}

/** K-LMS on its way: it keeps the last `order` slopes. */
export class LMS {
  /**
   * @param {number[]} sigmas
   * @param {number} order
   */
  constructor(sigmas, order = 4) {
    this.coefficients = sigmas.slice(1).map((_, i) => lms_coefficients(sigmas, i, order));
    this.order = order;
    /** @type {Float32Array[]} newest first */
    this.slopes = [];
  }

  /**
   * The x at level i + 1, from the x and its slope dx/dsigma at level i.
   * @param {Float32Array} x
   * @param {Float32Array} slope
   * @param {number} i
   */
  step(x, slope, i) {
    this.slopes = [slope, ...this.slopes].slice(0, this.order);
    const known = this.slopes.slice(0, this.coefficients[i].length);
    return known.reduce((sum, each, k) => sum.map((value, j) => value + this.coefficients[i][k] * each[j]), x);
  }
}
