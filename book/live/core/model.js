/** The three networks, as ONNX Runtime runs them: on the processor, the decoder in a thread of its own. */

import * as ort from "../vendor/ort.js";
import { LiveError } from "./errors.js";
import { numbers, open_session } from "./session.js";
import { Tokens77 } from "./tokens.js";

/** @typedef {import("../types.js").Tensor} Tensor */
/** @typedef {import("../types.js").ModelInfo} ModelInfo */
/** @typedef {import("onnxruntime-web").InferenceSession} Session */

const BATCH = 2; // [negative, prompt]

export class Model {
  /**
   * @param {ModelInfo} info
   * @param {Tokens77} tokens
   * @param {Session} text_encoder
   * @param {(latents: Tensor) => Promise<Tensor>} vae_decoder
   * @param {Session} unet
   */
  constructor(info, tokens, text_encoder, vae_decoder, unet) {
    this.info = info;
    this.tokens = tokens;
    this.text_encoder = text_encoder;
    this.vae_decoder = vae_decoder;
    this.unet = unet;
  }

  /**
   * Texts -> (texts, 77, dim).
   * @param {string[]} texts
   * @returns {Promise<Tensor>}
   */
  async embed(texts) {
    const rows = [];
    for (const text of texts) {
      const ids = BigInt64Array.from(this.tokens.read(text).ids, BigInt);
      const input_ids = new ort.Tensor("int64", ids, [1, ids.length]);
      rows.push(numbers(await this.text_encoder.run({ input_ids }), "text_embeddings"));
    }
    const [, ...sides] = rows[0].shape;
    return { shape: [rows.length, ...sides], data: Float32Array.from(rows.flatMap((row) => [...row.data])) };
  }

  /**
   * The UNet's outputs that are asked for, by name, in one call for both texts.
   * @param {Float32Array} model_input (1, 4, h, w)
   * @param {number} timestep
   * @param {Tensor} text_embeddings (2, 77, dim)
   * @param {string[]} names
   * @returns {Promise<Record<string, Tensor>>}
   */
  async predict(model_input, timestep, text_embeddings, names) {
    const [, ...sides] = this.info.latents;
    const sample = new Float32Array(BATCH * model_input.length);
    for (let k = 0; k < BATCH; k++) sample.set(model_input, k * model_input.length);
    const inputs = {
      sample: new ort.Tensor("float32", sample, [BATCH, ...sides]),
      timestep: new ort.Tensor("float32", [timestep], []),
      text_embeddings: new ort.Tensor("float32", text_embeddings.data, text_embeddings.shape),
    };
    const found = await this.unet.run(inputs, names);
    return Object.fromEntries(names.map((name) => [name, numbers(found, name)]));
  }

  /** The names of the UNet's outputs that show its inside. */
  get features() {
    return this.unet.outputNames.filter((name) => name.startsWith("features."));
  }

  /**
   * Latents -> (1, 3, 8h, 8w), about -1 ... 1.
   * @param {Tensor} latents (1, 4, h, w)
   * @param {number} [scaling_factor] by which they are divided first; the model's own
   */
  decode({ shape, data }, scaling_factor = this.info.scaling_factor) {
    return this.vae_decoder({ shape, data: data.map((value) => value / scaling_factor) });
  }
}

/**
 * The decoder in a worker of its own, so that a picture is decoded while the UNet takes its next step.
 * @param {object} parts its files: see decoder.js
 * @returns {Promise<(latents: Tensor) => Promise<Tensor>>}
 */
async function start_decoder(parts) {
  const worker = new Worker(new URL("decoder.js", import.meta.url), { type: "module" });
  /** @type {{resolve: (picture: Tensor) => void, reject: (error: Error) => void}[]} the oldest question first */
  const asked = [];
  const ask = (/** @type {object} */ what) =>
    /** @type {Promise<Tensor>} */ (
      new Promise((resolve, reject) => {
        asked.push({ resolve, reject });
        worker.postMessage(what);
      })
    );
  worker.onmessage = ({ data }) => {
    const { resolve, reject } = /** @type {(typeof asked)[0]} */ (asked.shift());
    if (data.error) reject(new Error(data.error));
    else resolve(data.picture);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    for (const { reject } of asked.splice(0))
      reject(new LiveError("The decoder's program could not be started; reload the page, or try a newer browser."));
  };
  await ask({ parts });
  return (latents) => ask({ latents });
}

/**
 * Start the networks as their files arrive. Throws LiveError where one does not come.
 * @param {import("./files.js").Files} files
 * @param {ModelInfo} info
 */
export async function start(files, info) {
  const wasm = await files.take("ort.wasm");
  const [rules, config] = await Promise.all(
    ["tokenizer.json", "tokenizer_config.json"].map(async (name) => JSON.parse(text(await files.take(name)))),
  );
  const parts = async (/** @type {string} */ name) => ({
    name,
    wasm,
    graph: await files.take(`${name}.onnx`),
    weights: await files.take(`${name}.weights`),
  });
  const text_encoder = await open_session(await parts("text_encoder"));
  const decoder = start_decoder(await parts("vae_decoder"));
  const [vae_decoder, unet] = await Promise.all([decoder, parts("unet").then(open_session)]);
  return new Model(info, new Tokens77(rules, config, info.vocabulary), text_encoder, vae_decoder, unet);
}

/** @param {ArrayBuffer} bytes */
const text = (bytes) => new TextDecoder().decode(bytes);
