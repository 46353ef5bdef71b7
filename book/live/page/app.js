/** The page's one state: what is set, which run is shown, and the machine. Views read it and ask it for changes. */

import { LONGEST, readable, samePicture } from "./settings.js";

/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {import("./run.js").Run} Run */
/** @typedef {import("./run.js").Step} Step */
/** @typedef {import("../types.js").Picture} Picture */
/** @typedef {import("../types.js").Tensor} Tensor */

export class App {
  /** Whether the model has arrived. */
  ready = false;
  /** Whether a run is on its way. */
  busy = false;
  /** What was left out of a prompt, in a sentence and a space; empty where nothing was. */
  cut = "";
  /** @type {{prompt: string, tokens: import("../types.js").Tokens} | null} a sentence that is being typed */
  draft = null;
  /** Called when the picture that is asked for is another than before. */
  onAsk = () => {};
  /** Called when something else is shown than what is asked for: a run under way is left. */
  onLeave = () => {};
  /** Called when a view has to be drawn anew. */
  onDraw = () => {};
  /** @type {Map<Tensor, Picture | null>} pictures that the decoder made of a file's latents; null: it is at work */
  #decoded = new Map();
  #asked = 0;

  /**
   * @param {Settings} settings
   * @param {import("./example.js").Example} example
   * @param {import("../types.js").Machine} machine
   * @param {(sentence: string) => void} say one sentence to everyone, screen readers too
   */
  constructor(settings, example, machine, say) {
    this.settings = settings;
    this.example = example;
    this.machine = machine;
    this.say = say;
    this.run = example.run;
  }

  /** What the controls show: the settings, and of a file those that it tells. */
  get shown() {
    if (this.run.source !== "file") return this.settings;
    const { prompt, negative, seed, total: steps, guidance } = this.run;
    return { ...this.settings, prompt, negative, seed, steps, guidance };
  }

  /**
   * Change settings. What asks for another picture leaves a file that is open.
   * @param {Partial<Settings>} part
   */
  change(part) {
    const before = this.settings;
    const other = !samePicture(this.shown, { ...this.shown, ...part });
    if (other) this.say((this.cut = "")); // what was said of the picture before
    for (const name of /** @type {const} */ (["prompt", "negative", "compare"])) {
      const text = part[name];
      if (text !== undefined && text.length > LONGEST) {
        part[name] = readable(text);
        this.cut = `The page reads the first ${LONGEST} letters of a prompt; the rest was left out. `;
        this.say(this.cut);
      }
    }
    this.settings = { ...before, ...part };
    if (other) this.onAsk();
    this.refresh();
  }

  /**
   * Show a run.
   * @param {Run} run
   */
  show(run) {
    this.run = run;
    this.#decoded.clear();
    this.refresh();
  }

  /** The pieces that are shown: those of the sentence that is being typed, else the run's. */
  get tokens() {
    return this.draft && this.draft.prompt !== this.run.prompt ? this.draft.tokens : this.run.tokens;
  }

  /** Draw once, when the browser next draws. */
  refresh() {
    cancelAnimationFrame(this.#asked);
    this.#asked = requestAnimationFrame(() => this.onDraw());
  }

  /**
   * Whether pictures of this run are decoded, and not coloured roughly: a file of another model or size has no decoder
   * here.
   * @param {Run} run
   */
  decodes(run) {
    const own = this.example.run;
    return (
      run.source !== "file" ||
      (this.ready &&
        run.model === "tiny" &&
        run.scaling === own.scaling &&
        String(run.noise.shape) === String(own.noise.shape))
    );
  }

  /**
   * The picture that the UNet expects at a step.
   * @param {Step} step
   * @returns {Picture}
   */
  pictureOf(step) {
    return step.picture ?? this.#picture(step.pred_original);
  }

  /**
   * The finished picture; of an unfinished run, the last that was expected.
   * @param {Run} run with at least one step
   * @returns {Picture}
   */
  finished(run) {
    const last = run.steps[run.steps.length - 1];
    return run.picture ?? (run.source === "file" ? this.#picture(last.latents) : this.pictureOf(last));
  }

  /**
   * Latents decoded, or coloured roughly until they are.
   * @param {Tensor} latents
   */
  #picture(latents) {
    const found = this.#decoded.get(latents);
    if (found) return found;
    if (found === undefined && this.decodes(this.run) && !this.busy) void this.#decode(latents);
    return this.run.rough(latents);
  }

  /** @param {Tensor} latents */
  async #decode(latents) {
    this.#decoded.set(latents, null);
    try {
      const picture = await this.machine.decode(latents);
      if (!this.#decoded.has(latents)) return; // another run is shown by now
      this.#decoded.set(latents, picture);
      this.refresh();
    } catch (error) {
      this.#decoded.delete(latents);
      this.say(error instanceof Error ? error.message : String(error));
    }
  }
}
