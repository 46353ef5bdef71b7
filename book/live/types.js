/**
 * What passes between the machine (core/) and the page (page/): types alone, for tsc and for editors.
 *
 * Names are those of the Python package: noisy, noise_uncond, noise_text, noise_pred, pred_original, latents, sigmas.
 * @module
 */

/**
 * Numbers with a shape, row after row (C order), always float32.
 * @typedef {object} Tensor
 * @property {number[]} shape
 * @property {Float32Array} data
 */

/**
 * A picture, 4 bytes a pixel (red, green, blue, 255), as `new ImageData(data, width)` takes it.
 * @typedef {object} Picture
 * @property {number} width
 * @property {number} height
 * @property {Uint8ClampedArray<ArrayBuffer>} data
 */

/**
 * A text as the model reads it.
 * @typedef {object} Tokens
 * @property {number[]} ids 77 numbers: start, pieces, end, padding
 * @property {string[]} pieces 77 texts; "</w>" marks the end of a word
 * @property {number} count pieces that are read, without start, end and padding: 0 ... 75
 * @property {number} cut pieces behind the 75th, which the model does not see
 * @property {{word: string, positions: number[], known: boolean}[]} words each word that is read, in order, where its
 *   pieces stand among the 77, and whether the bundled model ever read it in training
 */

/**
 * What goes wrong on purpose.
 * @typedef {object} Breaks
 * @property {boolean} [no_scaling] the UNet gets the noisy latents undivided
 * @property {boolean} [step_twice] `step` is called twice in the first round: the scheduler is one level ahead of the loop, and the
 *   run has one step less
 * @property {boolean} [wrong_timestep] the UNet is told the number of the round, 0, 1, 2 ..., in the place of the timestep
 * @property {boolean} [unscaled_decode] the decoder gets the latents without dividing by the scaling factor
 */

/** @typedef {"picture" | "attention" | "features"} Preview */

/**
 * A run. What is left out is the model's own (`ModelInfo.defaults`).
 * @typedef {object} PaintOptions
 * @property {string} prompt
 * @property {string} [negative_prompt] default ""
 * @property {bigint | number | string} [seed] a whole number, 0 ... 2^64 - 1; default 42
 * @property {number} [num_inference_steps] 1 ... 100
 * @property {number} [guidance_scale] -50 ... 50; 0: without the prompt, 1: the prompt's plain guess
 * @property {number} [order] of K-LMS, 1 ... 4; 1 is Euler's method
 * @property {"linspace" | "karras"} [schedule] how the noise levels are spread
 * @property {Breaks} [breaks]
 * @property {Preview[]} [previews] what each step brings besides its latents; default none
 */

/**
 * How the run will go; the first event.
 * @typedef {object} StartEvent
 * @property {"start"} kind
 * @property {Tokens} tokens of the prompt
 * @property {Tokens} negative_tokens
 * @property {Tensor} text_embeddings (2, 77, 128): negative prompt, prompt
 * @property {Tensor} noise (1, 4, 16, 16), standard deviation 1
 * @property {number[]} sigmas steps + 1 numbers, falling, the last one 0
 * @property {number[]} timesteps steps numbers
 */

/**
 * One guided step, as sdlesson.guidance.Step: latents (1, 4, 16, 16).
 * @typedef {object} StepEvent
 * @property {"step"} kind
 * @property {number} index from 0
 * @property {number} timestep what the UNet was told
 * @property {number} sigma before the step
 * @property {number} sigma_next after it
 * @property {Tensor} noisy latents before the step
 * @property {Tensor} model_input what the UNet saw of them
 * @property {Tensor} noise_uncond the guess for the negative prompt
 * @property {Tensor} noise_text the guess for the prompt
 * @property {Tensor} noise_pred what guidance makes of both
 * @property {Tensor} pred_original the noiseless latents that noise_pred implies
 * @property {Tensor} latents after the step
 * @property {number[]} coefficients weights of the last slopes, newest first (K-LMS)
 * @property {Picture} [picture] pred_original, decoded; with the preview "picture"
 * @property {Tensor} [attention] (77, 8, 8): how much each square listens to each token for the prompt's half, mean over
 *   heads and layers at the finest resolution; over the tokens it sums to 1; with the preview "attention"
 * @property {Record<string, Tensor>} [features] (channels, rows, columns) for the prompt's half, by the stage's name:
 *   down_blocks.0, mid_block, up_blocks.0 ...; with the preview "features"
 * @property {number} milliseconds that the step took, previews included
 */

/**
 * The last event: the finished picture.
 * @typedef {object} PictureEvent
 * @property {"picture"} kind
 * @property {Picture} picture 128 × 128
 * @property {Tensor} decoded (1, 3, 128, 128), about -1 ... 1
 * @property {number} milliseconds of the whole run
 */

/** @typedef {StartEvent | StepEvent | PictureEvent} RunEvent */

/**
 * How far the model has come. Bytes are those that travel (compressed).
 * @typedef {object} Progress
 * @property {"weights" | "start"} stage files are coming; then the engine starts
 * @property {number} loaded bytes
 * @property {number} total bytes
 */

/**
 * What the model is: from model/manifest.json.
 * @typedef {object} ModelInfo
 * @property {number} scaling_factor of the VAE
 * @property {number[]} latents shape, (1, 4, 16, 16)
 * @property {string} weights how they travelled
 * @property {string[]} vocabulary every word of the model's world
 * @property {{num_inference_steps: number, guidance_scale: number, seed: number, order: number, prompt: string}} defaults
 */

/**
 * The machine as the page sees it. Every error is a `LiveError`, whose message is one sentence for the visitor.
 * @typedef {object} Machine
 * @property {(onProgress?: (progress: Progress) => void) => Promise<ModelInfo>} load fetches and starts the model; after
 *   an error it may be called again, and fetches only what is missing
 * @property {(text: string) => Promise<Tokens>} tokenize
 * @property {(texts: string[]) => Promise<Tensor>} embed (texts, 77, 128)
 * @property {(latents: Tensor) => Promise<Picture>} decode latents (1, 4, 16, 16), as they stand in a run
 * @property {(options: PaintOptions) => AsyncGenerator<RunEvent, void, void>} paint a run; a later one ends an earlier one.
 *   Leaving the loop (`break`, `return()`) stops the worker before its next step
 * @property {() => void} stop ends the present run before its next step: its loop ends without a picture and without an error
 * @property {() => void} close ends the worker at once, in the middle of whatever it does; `load` starts it anew
 * @property {(message: string) => void} onFail called when the worker has ended, and why; `load` starts it anew
 */

/**
 * From the page to the worker; `id` marks what an answer belongs to, `run` is the id of the run to end.
 * @typedef {{id: number} & (
 *   {ask: "load"} | {ask: "tokenize", text: string} | {ask: "embed", texts: string[]} | {ask: "decode", latents: Tensor} |
 *   {ask: "paint", options: PaintOptions} | {ask: "stop", run: number})} Request
 */

/**
 * From the worker to the page.
 * @typedef {{id: number} & (
 *   {tell: "progress", progress: Progress} | {tell: "event", event: RunEvent} | {tell: "done", value?: any} |
 *   {tell: "error", message: string, fatal?: boolean})} Reply after a fatal one the worker is of no more use
 */

export {};
