/** Guided steps: from noise and text embeddings to the latents of a picture, as in sdlesson/guidance.py. */

import { LiveError } from "./errors.js";
import { LMS, init_noise_sigma, pred_original, scale_model_input, schedule } from "./sigmas.js";

/** @typedef {import("../types.js").Tensor} Tensor */
/** @typedef {import("../types.js").PaintOptions} PaintOptions */

/**
 * Classifier-free guidance: uncond + scale * (text - uncond) (Ho and Salimans 2022, equation 6, w = scale - 1).
 * @param {Float32Array} noise_uncond
 * @param {Float32Array} noise_text
 * @param {number} guidance_scale
 */
export function guide(noise_uncond, noise_text, guidance_scale) {
  if (guidance_scale === 1) return noise_text;
  if (guidance_scale === 0) return noise_uncond;
  return noise_uncond.map((value, k) => value + guidance_scale * (noise_text[k] - value));
}

/**
 * A number among others, or a LiveError that says which are allowed.
 * @param {unknown} value
 * @param {string} name
 * @param {number} least
 * @param {number} most
 * @param {boolean} whole
 */
function number(value, name, least, most, whole = false) {
  const fits = typeof value === "number" && value >= least && value <= most && (!whole || Number.isInteger(value));
  if (!fits) throw new LiveError(`The ${name} must be a ${whole ? "whole " : ""}number from ${least} to ${most}.`);
  return /** @type {number} */ (value);
}

/**
 * A run's settings, checked, with the model's own for what is left out; throws LiveError.
 * @param {PaintOptions} options
 * @param {import("../types.js").ModelInfo["defaults"]} defaults
 */
export function resolve_settings(options, defaults) {
  const { negative_prompt = "", schedule: kind = "linspace", breaks = {}, previews = [] } = options;
  for (const text of [options.prompt, negative_prompt]) {
    if (typeof text !== "string") throw new LiveError("A prompt is a text.");
  }
  if (kind !== "linspace" && kind !== "karras") throw new LiveError("The schedule is linspace or karras.");
  const { seed, num_inference_steps, guidance_scale, order } = { ...defaults, ...given(options) };
  return {
    prompt: options.prompt,
    negative_prompt,
    seed,
    num_inference_steps: number(num_inference_steps, "number of steps", 1, 100, true),
    guidance_scale: number(guidance_scale, "guidance scale", -50, 50),
    order: number(order, "order of K-LMS", 1, 4, true),
    schedule: /** @type {"linspace" | "karras"} */ (kind),
    breaks,
    previews,
  };
}

/**
 * Options without those that are undefined.
 * @param {PaintOptions} options
 * @returns {PaintOptions}
 */
const given = (options) =>
  /** @type {PaintOptions} */ (Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)));

/**
 * Walk from noise to a picture's latents; gives each step, without previews.
 *
 * `step_twice` is lesson 4's fault: `step` is called twice in the first round. From then on the scheduler is one level ahead of
 * the loop, and a round is missing at the end.
 * @template Call
 * @param {(model_input: Float32Array, timestep: number) => Promise<{noise_uncond: Float32Array, noise_text: Float32Array} & Call>}
 *   predict the UNet's two guesses
 * @param {Tensor} noise standard deviation 1
 * @param {ReturnType<typeof resolve_settings>} settings
 */
export async function* denoise(predict, noise, settings) {
  const { guidance_scale, breaks } = settings;
  const { sigmas, timesteps } = schedule(settings.num_inference_steps, settings.schedule);
  const memory = new LMS(sigmas, settings.order);
  const tensor = (/** @type {Float32Array} */ data) => ({ shape: noise.shape, data });
  /** @type {Float32Array} */
  let x = noise.data.map((value) => value * init_noise_sigma(sigmas));
  let level = 0;
  for (let index = 0; level < timesteps.length; index++) {
    const sigma = sigmas[level];
    const timestep = breaks.wrong_timestep ? index : timesteps[index];
    const model_input = breaks.no_scaling ? x : scale_model_input(x, sigma);
    const call = await predict(model_input, timestep);
    const noise_pred = guide(call.noise_uncond, call.noise_text, guidance_scale); // the slope dx/dsigma
    const original = pred_original(x, noise_pred, sigma);
    if (breaks.step_twice && index === 0 && timesteps.length > 1) memory.step(x, noise_pred, level++);
    const coefficients = memory.coefficients[level];
    const latents = memory.step(x, noise_pred, level++);
    yield {
      call,
      step: {
        kind: /** @type {const} */ ("step"),
        index,
        timestep,
        sigma,
        sigma_next: sigmas[level],
        noisy: tensor(x),
        model_input: tensor(model_input),
        noise_uncond: tensor(call.noise_uncond),
        noise_text: tensor(call.noise_text),
        noise_pred: tensor(noise_pred),
        pred_original: tensor(original),
        latents: tensor(latents),
        coefficients,
      },
    };
    x = latents;
  }
}
