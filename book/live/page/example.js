/** What is shown before the model has arrived: one recorded run, and pictures of other seeds and guidance scales. */

import { LiveError } from "../core/errors.js";
import { part } from "./numbers.js";
import { noiseOf, unstack } from "./run.js";
import { openSafetensors } from "./safetensors.js";
import { linearPicture } from "./squares.js";
import { readSettings } from "./trace.js";

/** @typedef {import("../types.js").Picture} Picture */
/** @typedef {import("../types.js").Tensor} Tensor */

/**
 * @typedef {object} World
 * @property {string[]} styles
 * @property {string[]} riders
 * @property {string[]} mounts
 * @property {string[]} places
 * @property {string[]} colours
 * @property {[string, string][]} held_out
 * @property {string[]} words
 */

/**
 * @typedef {object} Example
 * @property {import("./run.js").Run} run
 * @property {World} world
 * @property {number[][]} colours latents as colours, a matrix (5, 3)
 * @property {{seed: number, picture: Picture}[]} seeds
 * @property {{scale: number, picture: Picture}[]} scales
 */

const FOLDER = new URL("../example/", import.meta.url);

/** @param {string} name */
async function fetched(name) {
  const answer = await fetch(new URL(name, FOLDER));
  if (!answer.ok) throw new LiveError(`The recorded example cannot be read: the server does not give ${name}.`);
  return answer;
}

/**
 * The pictures of a sheet, from left to right.
 * @param {string} name
 * @returns {Promise<Picture[]>}
 */
async function sheet(name) {
  const image = await createImageBitmap(await (await fetched(name)).blob());
  const side = image.height;
  const on = new OffscreenCanvas(image.width, side).getContext("2d", { willReadFrequently: true });
  if (!on) throw new LiveError("This browser cannot draw pictures.");
  on.drawImage(image, 0, 0);
  return Array.from({ length: image.width / side }, (_, k) => {
    const { data } = on.getImageData(k * side, 0, side, side);
    return { width: side, height: side, data: new Uint8ClampedArray(data) };
  });
}

/** @returns {Promise<Example>} */
export async function loadExample() {
  const answers = await Promise.all([
    fetched("about.json").then((answer) => answer.json()),
    fetched("example.safetensors")
      .then((answer) => answer.blob())
      .then(openSafetensors),
    ...["previews.webp", "seeds.webp", "scales.webp"].map(sheet),
  ]);
  const [about, file, previews, seeds, scales] = answers;
  /** @type {Record<string, Tensor>} */
  const tensors = {};
  for (const name of file.places.keys()) tensors[name] = await file.tensor(name);
  const settings = readSettings(file.metadata.settings);
  const sigmas = [...tensors.sigmas.data, 0];
  const steps = unstack(tensors, sigmas, [...tensors.timesteps.data], 0);
  const features = Object.keys(tensors).filter((name) => name.startsWith("features."));
  steps.forEach((step, k) => {
    step.picture = previews[k];
    step.attention = part(tensors.attention, k);
    step.features = Object.fromEntries(features.map((name) => [name.slice(9), part(tensors[name], k)]));
  });
  return {
    run: {
      source: "example",
      prompt: settings.prompts[0],
      negative: settings.negative_prompts[0],
      seed: String(settings.seeds[0]),
      guidance: settings.guidance_scale,
      total: steps.length,
      tokens: about.tokens,
      text_embeddings: tensors.text_embeddings,
      noise: noiseOf(steps[0]),
      sigmas,
      timesteps: steps.map((step) => step.timestep),
      steps,
      scaling: settings.scaling_factor,
      picture: solid(tensors.picture),
      breaks: [],
      rough: (latents) => linearPicture(latents, about.preview),
    },
    world: about.world,
    colours: about.preview,
    seeds: about.seeds.map((/** @type {number} */ seed, /** @type {number} */ k) => ({ seed, picture: seeds[k] })),
    scales: about.scales.map((/** @type {number} */ scale, /** @type {number} */ k) => ({ scale, picture: scales[k] })),
  };
}

/**
 * Three bytes a pixel as four.
 * @param {Tensor} tensor (rows, columns, 3)
 * @returns {Picture}
 */
function solid(tensor) {
  const [height, width] = tensor.shape;
  const data = new Uint8ClampedArray(4 * height * width).fill(255);
  tensor.data.forEach((value, k) => (data[4 * Math.floor(k / 3) + (k % 3)] = value));
  return { width, height, data };
}
