/** The decoder's own thread: first its files come, then latents; a picture goes back for each. */

import * as ort from "../vendor/ort.js";
import { numbers, open_session } from "./session.js";

/** @type {import("onnxruntime-web").InferenceSession} */
let vae_decoder;

/**
 * @param {{parts?: Parameters<typeof open_session>[0], latents?: import("../types.js").Tensor}} given
 * @returns {Promise<import("../types.js").Tensor | undefined>}
 */
async function does({ parts, latents }) {
  if (parts) vae_decoder = await open_session(parts);
  if (!latents) return undefined;
  const { data, shape } = latents;
  return numbers(await vae_decoder.run({ latents: new ort.Tensor("float32", data, shape) }), "picture");
}

self.onmessage = async ({ data }) => {
  try {
    self.postMessage({ picture: await does(data) });
  } catch (error) {
    self.postMessage({ error: String(error instanceof Error ? error.message : error) });
  }
};
