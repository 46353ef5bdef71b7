/** The three networks, as ONNX Runtime runs them: one thread, on the processor. */

import * as ort from "../vendor/ort.js";
import { widened } from "./files.js";
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
   * @param {Session} vae_decoder
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
  async decode({ shape, data }, scaling_factor = this.info.scaling_factor) {
    const latents = new ort.Tensor("float32", data.map((value) => value / scaling_factor), shape);
    return numbers(await this.vae_decoder.run({ latents }), "picture");
  }
}

/**
 * @param {import("onnxruntime-web").InferenceSession.OnnxValueMapType} found
 * @param {string} name
 * @returns {Tensor}
 */
function numbers(found, name) {
  const { dims, data } = found[name];
  return { shape: [...dims], data: /** @type {Float32Array} */ (data) };
}

/**
 * Start the networks as their files arrive. Throws LiveError where one does not come.
 * @param {import("./files.js").Files} files
 * @param {ModelInfo} info
 */
export async function start(files, info) {
  ort.env.wasm.numThreads = 1; // more of them need headers that a plain static server does not send
  ort.env.wasm.wasmBinary = await files.take("ort.wasm");
  const [rules, config] = await Promise.all(
    ["tokenizer.json", "tokenizer_config.json"].map(async (name) => JSON.parse(text(await files.take(name)))),
  );
  const sessions = [];
  for (const part of ["text_encoder", "vae_decoder", "unet"]) {
    const graph = new Uint8Array(await files.take(`${part}.onnx`));
    const weights = widened(await files.take(`${part}.weights`));
    const options = {
      executionProviders: ["wasm"],
      graphOptimizationLevel: /** @type {const} */ ("disabled"), // done when the graph was made
      externalData: [{ path: `${part}.weights`, data: new Uint8Array(weights.buffer) }],
    };
    sessions.push(await ort.InferenceSession.create(graph, options));
  }
  const [text_encoder, vae_decoder, unet] = sessions;
  return new Model(info, new Tokens77(rules, config, info.vocabulary), text_encoder, vae_decoder, unet);
}

/** @param {ArrayBuffer} bytes */
const text = (bytes) => new TextDecoder().decode(bytes);
