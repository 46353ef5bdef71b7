/** The machine's own thread: answers the page's requests, and looks between two steps whether it shall stop. */

import { LiveError } from "./errors.js";
import { Files } from "./files.js";
import { denoise, resolve_settings } from "./guidance.js";
import { start } from "./model.js";
import { initial_noise } from "./noise.js";
import { to_picture } from "./pictures.js";
import { schedule } from "./sigmas.js";

/** @typedef {import("../types.js").Request} Request */
/** @typedef {import("../types.js").RunEvent} RunEvent */
/** @typedef {import("./model.js").Model} Model */

const GUESSES = ["noise_uncond", "noise_text"];

const files = new Files(new URL("../model/", import.meta.url));
/** @type {Promise<Model> | undefined} */
let model;
let present = 0; // the run that goes on; another number ends it

/** @param {Request} request */
async function answer(request) {
  const { id } = request;
  const tell = (/** @type {object} */ what) => self.postMessage({ id, ...what });
  try {
    tell({ tell: "done", value: await does(request, tell) });
  } catch (error) {
    if (error instanceof LiveError) tell({ tell: "error", message: error.message });
    else tell({ tell: "error", fatal: true, message: `The model stopped (${shown(error)}); load it again.` });
  }
}

/**
 * @param {Request} request
 * @param {(what: object) => void} tell
 */
async function does(request, tell) {
  if (request.ask === "stop") return void (present === request.run && (present = 0));
  if (request.ask === "load") return (await load(tell)).info;
  const there = await model;
  if (!there) throw new LiveError("The model is not there yet; load it first.");
  if (request.ask === "tokenize") return there.tokens.read(request.text);
  if (request.ask === "embed") return there.embed(request.texts);
  if (request.ask === "decode") return to_picture(await there.decode(request.latents));
  for await (const event of paint(there, request)) tell({ tell: "event", event });
}

/** @param {(what: object) => void} tell */
function load(tell) {
  files.onProgress = () => tell({ tell: "progress", progress: { stage: "weights", ...files.progress } });
  model ??= files
    .open()
    .then((info) => start(files, info))
    .catch((error) => {
      model = undefined; // `load` may be called again
      throw error;
    });
  return model;
}

/**
 * @param {Model} there
 * @param {Extract<Request, {ask: "paint"}>} request
 * @returns {AsyncGenerator<RunEvent, void, void>}
 */
async function* paint(there, { id, options }) {
  present = id;
  const began = performance.now();
  const settings = resolve_settings(options, there.info.defaults);
  const { prompt, negative_prompt, breaks, previews } = settings;
  const noise = initial_noise(there.info.latents, settings.seed);
  const text_embeddings = await there.embed([negative_prompt, prompt]);
  const [negative_tokens, tokens] = [negative_prompt, prompt].map((text) => there.tokens.read(text));
  yield {
    kind: "start",
    tokens,
    negative_tokens,
    text_embeddings,
    noise,
    ...schedule(settings.num_inference_steps, settings.schedule),
  };
  const inside = [
    ...(previews.includes("attention") ? ["attention"] : []),
    ...(previews.includes("features") ? there.features : []),
  ];
  /** @type {(x: Float32Array, timestep: number) => Promise<any>} */
  const predict = async (x, timestep) => {
    const found = await there.predict(x, timestep, text_embeddings, [...GUESSES, ...inside]);
    return { ...found, noise_uncond: found.noise_uncond.data, noise_text: found.noise_text.data };
  };
  const scaling = breaks.unscaled_decode ? 1 : there.info.scaling_factor;
  let [latents, last] = [noise, performance.now()];
  /** @type {(() => Promise<RunEvent>) | undefined} the step before, whose picture is decoded meanwhile */
  let before;
  for await (const { step, call } of denoise(predict, noise, settings)) {
    const decoding = previews.includes("picture") ? there.decode(step.pred_original, scaling) : undefined;
    decoding?.catch(() => {}); // told where it is waited for
    if (before) yield await before();
    before = async () => {
      const picture = decoding && to_picture(await decoding);
      const now = performance.now();
      const milliseconds = now - last;
      last = now;
      return {
        ...step,
        ...(picture && { picture }),
        ...(call.attention && { attention: call.attention }),
        ...shown_inside(call),
        milliseconds,
      };
    };
    latents = step.latents;
    await messages();
    if (present !== id) return;
  }
  if (before) yield await before();
  const decoded = await there.decode(latents, scaling);
  yield { kind: "picture", picture: to_picture(decoded), decoded, milliseconds: performance.now() - began };
}

/**
 * The feature maps among what a call of the UNet gave, by their stage's name.
 * @param {Record<string, any>} call
 */
function shown_inside(call) {
  const found = Object.entries(call).filter(([name]) => name.startsWith("features."));
  if (!found.length) return {};
  return { features: Object.fromEntries(found.map(([name, maps]) => [name.slice("features.".length), maps])) };
}

/** Let what the page has sent meanwhile be read. */
const messages = () =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => resolve(port1.close());
    port2.postMessage(undefined);
  });

/** @param {unknown} error */
const shown = (error) => String(error instanceof Error ? error.message : error).split("\n")[0].slice(0, 200);

self.onmessage = ({ data }) => void answer(data);
