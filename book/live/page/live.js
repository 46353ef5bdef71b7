/** The live model: its arrival, and runs that are painted here. */

import { LiveError } from "../core/errors.js";
import { h, put } from "./dom.js";
import { DEFAULTS, samePicture } from "./settings.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./run.js").Run} Run */

const PATIENCE = 250; // milliseconds without another change before a run starts: a slider that moves asks many times

/**
 * @param {unknown} error
 * @returns {string}
 */
const sentence = (error) =>
  error instanceof LiveError ? error.message : `Something went wrong in this page: ${error}`;

/** @param {string} prompt */
const shortened = (prompt) => (prompt.length > 80 ? `${prompt.slice(0, 79)}…` : prompt);

/** @param {number} bytes */
const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

/**
 * Fetch the model, say how far it has come, and paint whenever another picture is asked for.
 * @param {App} app
 * @param {Element} arrival where its progress is told
 */
export function startLive(app, arrival) {
  let latest = 0;
  let timer = 0;
  let scaling = app.example.run.scaling;

  const again = h("button", { type: "button", class: "quiet", onclick: () => void arrive() }, "Try again");
  const bar = h("progress", { max: 1, value: 0, "aria-label": "the model's way here" });
  const words = h("span");

  async function arrive() {
    put(arrival, words, bar);
    const recorded = () => {
      if (app.run.source !== "example") return "";
      return samePicture(app.settings, DEFAULTS)
        ? "You see a recorded run."
        : `You see a recorded run: ${DEFAULTS.prompt}, seed ${DEFAULTS.seed}. Yours is painted when the live model is here.`;
    };
    put(words, `${recorded()} The live model is on its way.`);
    try {
      const info = await app.machine.load(({ loaded, total }) => {
        bar.value = total ? loaded / total : 0;
        const far = `${megabytes(loaded)} of ${megabytes(total)} MB`;
        put(
          words,
          loaded === total
            ? `${recorded()} The live model is here, and starts.`
            : `${recorded()} The live model is on its way: ${far}.`,
        );
      });
      scaling = info.scaling_factor;
      app.ready = true;
      put(arrival, "The model is live in this tab. Nothing that you type leaves it.");
      if (app.run.source !== "file" && !samePicture(app.settings, DEFAULTS)) await paint();
      app.refresh();
    } catch (error) {
      fail(sentence(error));
      app.say(sentence(error));
    }
  }

  /** @param {string} message why there is no model */
  function fail(message) {
    app.ready = false;
    put(arrival, `${message} `, again);
  }

  async function paint() {
    const mine = ++latest;
    const asked = app.settings;
    const { prompt, negative, seed, steps, guidance, order, schedule, breaks } = asked;
    app.busy = true;
    app.refresh();
    /** @type {Run | null} */
    let run = null;
    try {
      const events = app.machine.paint({
        prompt,
        negative_prompt: negative,
        seed,
        num_inference_steps: steps,
        guidance_scale: guidance,
        order,
        schedule,
        breaks: Object.fromEntries(breaks.map((name) => [name, true])),
        previews: ["picture", "attention", "features"],
      });
      for await (const event of events) {
        if (mine !== latest) continue; // the later run ends this one
        if (event.kind === "start") {
          run = begun(asked, event, scaling, app.example.run.rough);
        } else if (run && event.kind === "step") {
          run.steps.push(event);
          if (run.steps.length === 1) app.show(run); // the run before stays until this one has something to show
        } else if (run && event.kind === "picture") {
          Object.assign(run, {
            total: run.steps.length,
            picture: event.picture,
            decoded: event.decoded,
            milliseconds: event.milliseconds,
          });
          app.say(
            `${app.cut}Painted in ${(event.milliseconds / 1000).toFixed(1)} seconds: ${shortened(prompt) || "the empty prompt"}, seed ${seed}.`,
          );
        }
        app.refresh();
      }
      if (mine === latest && run && !run.picture)
        app.say(
          run.steps.length
            ? `Stopped after ${run.steps.length} of ${run.total} steps. What was painted so far stays.`
            : "Stopped before the first step. You see the run before it.",
        );
    } catch (error) {
      if (mine === latest) app.say(sentence(error));
    } finally {
      if (mine === latest) app.busy = false;
      app.refresh();
    }
  }

  /** Ask for the picture of the present settings, soon. */
  function ask() {
    clearTimeout(timer);
    if (!app.ready) {
      const recorded = samePicture(app.settings, DEFAULTS);
      app.show(app.example.run);
      if (!recorded) app.say("The model is not here yet; it will paint this when it is.");
      return;
    }
    timer = window.setTimeout(() => void paint(), PATIENCE);
  }

  app.machine.onFail = fail;
  app.onAsk = ask;
  app.onLeave = () => {
    clearTimeout(timer);
    latest++; // whatever still comes of the run that was under way is not shown
    app.busy = false;
    app.machine.stop();
  };
  void arrive();
  return {
    paint: () => {
      clearTimeout(timer);
      if (app.ready) void paint();
      else ask();
    },
    stop: () => {
      clearTimeout(timer);
      app.machine.stop();
    },
  };
}

/**
 * @param {import("./settings.js").Settings} asked
 * @param {import("../types.js").StartEvent} event
 * @param {number} scaling
 * @param {Run["rough"]} rough
 * @returns {Run}
 */
function begun(asked, event, scaling, rough) {
  const { prompt, negative, seed, guidance, breaks } = asked;
  const { tokens, text_embeddings, noise, sigmas, timesteps } = event;
  return {
    source: "live",
    prompt,
    negative,
    seed,
    guidance,
    total: timesteps.length,
    tokens,
    text_embeddings,
    noise,
    sigmas,
    timesteps,
    steps: [],
    scaling,
    breaks: [...breaks],
    rough,
  };
}
