/** A learner's own recorded run (`sdlesson paint --trace`), of the bundled model or a big one. Nothing is uploaded. */

import { LiveError } from "../core/errors.js";
import { noiseOf, unstack } from "./run.js";
import { openSafetensors } from "./safetensors.js";
import { linearPicture } from "./squares.js";

/** @typedef {import("../types.js").Tensor} Tensor */
/** @typedef {import("./run.js").Run} Run */

/** How v1's latents become colours, roughly: the matrix of "Decoding latents to RGB without upscaling", Hugging Face forum, 2022. */
const V1_COLOURS = [
  [0.298, 0.207, 0.208],
  [0.187, 0.286, 0.173],
  [-0.158, 0.189, 0.264],
  [-0.184, -0.271, -0.473],
];
const STEP_TENSORS = ["latents", "noise_pred", "pred_original", "noise_uncond", "noise_text"];
const LARGEST = 2 ** 30; // bytes of a file

/**
 * A file as one run for each picture of its batch.
 * @param {Blob} file
 * @param {number[][]} colours the bundled model's latents as colours
 * @returns {Promise<Run[]>}
 */
export async function readTrace(file, colours) {
  if (file.size > LARGEST) throw new LiveError("This file is larger than 1 GB; a recorded run is smaller.");
  const { places, metadata, tensor } = await openSafetensors(file);
  const settings = readSettings(metadata.settings);
  checkShapes(places, settings.prompts.length);
  /** @type {Record<string, Tensor>} */
  const tensors = {};
  for (const name of ["ids", "text_embeddings", "noisy", "timesteps", "sigmas", ...STEP_TENSORS]) {
    if (places.has(name)) tensors[name] = await tensor(name);
  }
  return settings.prompts.map((/** @type {string} */ _prompt, /** @type {number} */ k) =>
    oneRun(tensors, settings, k, colours),
  );
}

/** @param {string | undefined} text */
export function readSettings(text) {
  let settings;
  try {
    settings = JSON.parse(text ?? "null");
  } catch {
    settings = null;
  }
  const { prompts, negative_prompts: negatives } = settings ?? {};
  const texts = (/** @type {unknown} */ each) =>
    Array.isArray(each) && each.length > 0 && each.every((one) => typeof one === "string");
  if (!texts(prompts) || !texts(negatives) || prompts.length !== negatives.length) {
    throw new LiveError("This file is no recorded run of sdlesson: its settings do not name the prompts.");
  }
  if (!Number.isFinite(settings.guidance_scale)) throw new LiveError("This file's settings lack the guidance scale.");
  return settings;
}

/**
 * The shapes that `save_trace` writes, or one sentence.
 * @param {Map<string, import("./safetensors.js").Place>} places
 * @param {number} batch
 */
function checkShapes(places, batch) {
  const shape = (/** @type {string} */ name) => {
    const place = places.get(name);
    if (!place) throw new LiveError(`This file is no recorded run of sdlesson: it lacks ${name}.`);
    return place.shape;
  };
  const latents = shape("noisy");
  const [steps] = shape("timesteps");
  if (latents.length !== 4 || latents[0] !== batch || latents[1] !== 4 || !steps || steps > 1000) {
    throw new LiveError(
      "This file's latents do not have the shape (pictures, 4, rows, columns) of a Stable Diffusion run.",
    );
  }
  const [, , rows, columns] = latents;
  if (rows < 4 || columns < 4 || rows > 256 || columns > 256)
    throw new LiveError(`This page does not show latents of ${rows} × ${columns}.`);
  const wanted = Object.fromEntries(STEP_TENSORS.map((name) => [name, [steps, ...latents]]));
  wanted.sigmas = wanted.timesteps = [steps];
  wanted.ids = [2 * batch, shape("ids")[1]];
  wanted.text_embeddings = [2 * batch, shape("ids")[1], shape("text_embeddings")[2]];
  if (!places.has("noise_uncond") && !places.has("noise_text"))
    throw new LiveError("This file lacks what the UNet said.");
  for (const [name, expected] of Object.entries(wanted)) {
    if (!places.has(name) && name.startsWith("noise_") && name !== "noise_pred") continue;
    if (String(shape(name)) !== String(expected)) {
      throw new LiveError(
        `“${name}” in this file has the shape (${shape(name).join(", ")}), not (${expected.join(", ")}).`,
      );
    }
  }
}

/**
 * @param {Record<string, Tensor>} tensors
 * @param {any} settings
 * @param {number} which
 * @param {number[][]} colours
 * @returns {Run}
 */
function oneRun(tensors, settings, which, colours) {
  const sigmas = [...tensors.sigmas.data, 0];
  const steps = unstack(tensors, sigmas, [...tensors.timesteps.data], which);
  const [, length, dim] = tensors.text_embeddings.shape;
  const batch = settings.prompts.length;
  const row = (/** @type {number} */ k) =>
    tensors.text_embeddings.data.subarray(k * length * dim, (k + 1) * length * dim);
  const embeddings = new Float32Array([...row(which), ...row(batch + which)]);
  const ids = [...tensors.ids.data.subarray((batch + which) * length, (batch + which + 1) * length)];
  const matrix = settings.model === "tiny" ? colours : V1_COLOURS;
  return {
    source: "file",
    prompt: settings.prompts[which],
    negative: settings.negative_prompts[which],
    seed: String(settings.seeds?.[which] ?? ""),
    guidance: settings.guidance_scale,
    total: steps.length,
    tokens: idsAlone(ids),
    text_embeddings: { shape: [2, length, dim], data: embeddings },
    noise: noiseOf(steps[0]),
    sigmas,
    timesteps: steps.map((step) => step.timestep),
    steps,
    scaling: Number(settings.scaling_factor) || 1,
    breaks: [],
    model: String(settings.model ?? "unknown").slice(0, 80),
    rough: (latents) => linearPicture(latents, matrix),
  };
}

/**
 * Tokens whose pieces are not known: a file holds numbers alone. CLIP pads with its end token, or with another.
 * @param {number[]} ids
 * @returns {import("../types.js").Tokens}
 */
function idsAlone(ids) {
  const padding = ids[ids.length - 1];
  const last = ids.findLastIndex((id) => id !== padding);
  const count = ids[last] === ids[0] + 1 ? last - 1 : last; // the end's number follows the start's
  return { ids, pieces: ids.map(() => ""), count: Math.max(0, count), cut: 0, words: [] };
}
