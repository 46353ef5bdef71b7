/** The run on the page, whoever made it: recorded with the page, painted live, or read from a visitor's file. */

import { dot, mean, norm, part, std } from "./numbers.js";

/** @typedef {import("../types.js").Tensor} Tensor */
/** @typedef {import("../types.js").Tokens} Tokens */
/** @typedef {import("../types.js").Picture} Picture */
/** @typedef {import("../types.js").StepEvent} StepEvent */

/**
 * A step as the views need it: StepEvent, without what a file does not hold. In a run without guidance one guess is missing.
 * @typedef {Omit<StepEvent, "kind" | "milliseconds" | "coefficients" | "noise_uncond" | "noise_text"> &
 *   {noise_uncond?: Tensor, noise_text?: Tensor, coefficients?: number[], milliseconds?: number}} Step
 */

/**
 * @typedef {object} Run
 * @property {"example" | "live" | "file"} source
 * @property {string} prompt
 * @property {string} negative
 * @property {string} seed "" where noise was given
 * @property {number} guidance
 * @property {number} total steps that it will have
 * @property {Tokens} tokens of the prompt; of a file whose pieces are unknown, the ids alone
 * @property {Tensor} text_embeddings (2, 77, dim): negative prompt, prompt
 * @property {Tensor} noise (1, 4, rows, columns)
 * @property {number[]} sigmas total + 1
 * @property {number[]} timesteps
 * @property {Step[]} steps those that are there by now
 * @property {number} scaling of the VAE
 * @property {Picture} [picture] when it is finished and decoded
 * @property {Tensor} [decoded] what the decoder gave, before it became bytes
 * @property {number} [milliseconds] of the whole run
 * @property {string[]} breaks
 * @property {string} [model] a file's
 * @property {(latents: Tensor) => Picture} rough latents as a small picture, without a decoder
 */

/**
 * The step at which to look: the chosen one, or the newest.
 * @param {Run} run
 * @param {number | null} chosen
 */
export const shownIndex = (run, chosen) => Math.min(chosen ?? Infinity, run.steps.length - 1);

/**
 * How like the last predicted original each earlier one is: its coarse part (means of blocks of a quarter of the side)
 * and the fine part that is left, as cosines. 1 is: as in the end.
 * @param {Run} run
 */
export function settled(run) {
  const parts = run.steps.map((step) => split(step.pred_original));
  const last = parts[parts.length - 1];
  const like = (/** @type {"coarse" | "fine"} */ name) =>
    parts.map((each) => dot(each[name], last[name]) / (norm(each[name]) * norm(last[name]) || 1));
  return { coarse: like("coarse"), fine: like("fine") };
}

/**
 * Latents as the means of 4 × 4 blocks a channel, less the channel's own mean, and what those leave.
 * @param {Tensor} latents (1, channels, rows, columns)
 */
function split(latents) {
  const [, channels, rows, columns] = latents.shape;
  const coarse = new Float32Array(latents.data.length);
  const fine = new Float32Array(latents.data.length);
  for (let c = 0; c < channels; c++) {
    const values = part(part(latents, 0), c).data;
    const [sums, counts] = [new Float64Array(16), new Float64Array(16)];
    const block = (/** @type {number} */ k) =>
      4 * Math.floor((4 * Math.floor(k / columns)) / rows) + Math.floor((4 * (k % columns)) / columns);
    values.forEach((value, k) => {
      sums[block(k)] += value;
      counts[block(k)] += 1;
    });
    const middle = mean(values);
    values.forEach((value, k) => {
      const blockMean = sums[block(k)] / counts[block(k)];
      coarse[c * values.length + k] = blockMean - middle;
      fine[c * values.length + k] = value - blockMean;
    });
  }
  return { coarse, fine };
}

/**
 * The first step from which a row of likenesses stays at `level` or above; its length where none does.
 * @param {number[]} likeness
 * @param {number} level
 */
export function settledFrom(likeness, level) {
  let first = likeness.length;
  while (first > 0 && likeness[first - 1] >= level) first -= 1;
  return first;
}

/**
 * Steps out of stacked tensors, as `save_trace` writes them, picture `which` of the batch.
 * @param {Record<string, Tensor>} tensors (steps, batch, 4, rows, columns), and noisy (batch, 4, rows, columns)
 * @param {number[]} sigmas
 * @param {number[]} timesteps
 * @param {number} which
 * @returns {Step[]}
 */
export function unstack(tensors, sigmas, timesteps, which) {
  const [, ...sides] = tensors.noisy.shape;
  const one = (/** @type {Tensor} */ of) => ({ shape: [1, ...sides], data: part(of, which).data });
  const at = (/** @type {string} */ name, /** @type {number} */ k) =>
    name in tensors ? present(one(part(tensors[name], k))) : undefined;
  const wide = isWide(one(tensors.noisy), sigmas[0]);
  let noisy = one(tensors.noisy);
  return timesteps.map((timestep, k) => {
    const before = noisy;
    noisy = one(part(tensors.latents, k));
    const shrink = wide ? 1 / Math.sqrt(sigmas[k] ** 2 + 1) : 1;
    return {
      index: k,
      timestep,
      sigma: sigmas[k],
      sigma_next: sigmas[k + 1],
      noisy: before,
      model_input: { shape: before.shape, data: before.data.map((value) => value * shrink) },
      noise_uncond: at("noise_uncond", k),
      noise_text: at("noise_text", k),
      noise_pred: one(part(tensors.noise_pred, k)),
      pred_original: one(part(tensors.pred_original, k)),
      latents: noisy,
    };
  });
}

/**
 * Whether latents are picture + sigma * noise, of standard deviation sqrt(sigma^2 + 1), and not brought to 1 already, as
 * schedulers of the other kind keep them: whichever is nearer.
 * @param {Tensor} latents
 * @param {number} sigma
 */
const isWide = (latents, sigma) => std(latents.data) > (1 + Math.sqrt(sigma ** 2 + 1)) / 2;

/**
 * A half that was not computed is kept as NaN.
 * @param {Tensor} tensor
 */
const present = (tensor) => (tensor.data.every(Number.isNaN) ? undefined : tensor);

/**
 * The noise that a run began with, at standard deviation 1.
 * @param {Step} first
 * @returns {Tensor}
 */
export function noiseOf(first) {
  const scale = isWide(first.noisy, first.sigma) ? 1 / first.sigma : 1;
  return { shape: first.noisy.shape, data: first.noisy.data.map((value) => value * scale) };
}
