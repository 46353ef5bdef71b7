/** One network, as ONNX Runtime runs it: one thread, on the processor. */

import * as ort from "../vendor/ort.js";
import { widened } from "./files.js";

/** @typedef {import("../types.js").Tensor} Tensor */

/**
 * @param {object} parts
 * @param {string} parts.name
 * @param {ArrayBuffer} parts.wasm the runtime's program
 * @param {ArrayBuffer} parts.graph
 * @param {ArrayBuffer} parts.weights as they travel
 */
export function open_session({ name, wasm, graph, weights }) {
  ort.env.wasm.numThreads = 1; // more of them need headers that a plain static server does not send
  ort.env.wasm.wasmBinary = wasm;
  return ort.InferenceSession.create(new Uint8Array(graph), {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "disabled", // done when the graph was made
    externalData: [{ path: `${name}.weights`, data: new Uint8Array(widened(weights).buffer) }],
  });
}

/**
 * @param {import("onnxruntime-web").InferenceSession.OnnxValueMapType} found
 * @param {string} name
 * @returns {Tensor}
 */
export function numbers(found, name) {
  const { dims, data } = found[name];
  return { shape: [...dims], data: /** @type {Float32Array} */ (data) };
}
