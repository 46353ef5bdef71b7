/** The UNet: what it gets, what passes through it, what it gives. */

import { breaker } from "../controls.js";
import { h, put } from "../dom.js";
import { by, part, std, told } from "../numbers.js";
import { shownIndex } from "../run.js";
import { canvas, drawChannels, drawRows } from "../squares.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../../types.js").Tensor} Tensor */

export const id = "unet";
export const name = "UNet";
export const title = "One network: it guesses the noise";
export const lede =
  "The UNet gets three things: the noisy latents, the timestep, and the vectors of a text. It gives one thing back: for every number in the latents, a guess of the noise in it. It is asked twice, once with an empty text, or the negative prompt, and once with yours.";

/** @param {App} app */
export function build(app) {
  const noisy = item("noisy latents");
  const time = h("p", { class: "huge" });
  const vectors = item("vectors", "rows");
  const inside = h("div", { class: "inside" });
  const first = h("span");
  const uncond = item(first);
  const text = item("guess with your words");
  const drawing = h(
    "div",
    { class: "through" },
    h(
      "section",
      { "aria-label": "what the UNet gets" },
      h("h3", {}, "gets"),
      noisy.element,
      h("figure", {}, time, h("figcaption", {}, "timestep")),
      vectors.element,
    ),
    h("section", { "aria-label": "inside the UNet" }, h("h3", {}, "inside, down and up"), inside),
    h("section", { "aria-label": "what the UNet gives" }, h("h3", {}, "gives"), uncond.element, text.element),
  );
  const breaks = [
    breaker(
      app,
      "no_scaling",
      "do not divide.",
      "The UNet sees the latents as loud as they are, and not at a standard deviation of about 1.",
    ),
    breaker(
      app,
      "wrong_timestep",
      "lie about the time.",
      "The UNet is told the number of the round, 0, 1, 2 …, as if the noise were nearly gone.",
    ),
  ];
  return {
    drawing,
    controls: h("div", {}, ...breaks.map((each) => each.element)),
    update() {
      breaks.forEach((each) => each.update());
      const step = app.run.steps[shownIndex(app.run, app.settings.step)];
      if (!step) return;
      const input = step.model_input;
      noisy.show(
        (on) => drawChannels(on, input, "What the UNet sees, noisy latents"),
        `${by(input.shape.slice(1))}, standard deviation ${told(std(input.data))}`,
      );
      put(time, told(step.timestep));
      put(first, app.run.negative ? "guess with the negative prompt" : "guess without words");
      const one = part(app.run.text_embeddings, 1);
      vectors.show((on) => drawRows(on, one, `The vectors of the text, ${by(one.shape)}`, 2.5), by(one.shape));
      for (const [place, guess] of /** @type {const} */ ([
        [uncond, step.noise_uncond],
        [text, step.noise_text],
      ])) {
        if (guess) place.show((on) => drawChannels(on, guess, "The guessed noise"), by(guess.shape.slice(1)));
        else place.none("not computed at this guidance");
      }
      put(inside, ...features(step.features));
    },
  };
}

/**
 * @param {import("../dom.js").Child} label
 * @param {string} [kind] class for the style sheet
 */
function item(label, kind = "") {
  const on = canvas(`squares ${kind}`);
  const shape = h("span", { class: "shape" });
  return {
    element: h("figure", {}, on, h("figcaption", {}, label, " ", shape)),
    /**
     * @param {(on: HTMLCanvasElement) => void} draw
     * @param {string} words
     */
    show(draw, words) {
      draw(on);
      on.hidden = false;
      put(shape, words);
    },
    /** @param {string} words */
    none(words) {
      on.hidden = true;
      put(shape, words);
    },
  };
}

/**
 * The stages as a U: what comes before the middle goes down on the left, what comes after it up on the right.
 * @param {Record<string, Tensor> | undefined} maps
 */
function features(maps) {
  if (!maps) return [h("p", { class: "remark" }, "A trace file does not hold what passes inside.")];
  const names = Object.keys(maps);
  const middle = names.findIndex((stage) => stage.startsWith("mid"));
  return names.map((stage, k) => {
    const map = maps[stage];
    const on = canvas(`squares side${map.shape[2]}`);
    const four = {
      shape: [Math.min(4, map.shape[0]), ...map.shape.slice(1)],
      data: map.data.subarray(0, 4 * map.shape[1] * map.shape[2]),
    };
    drawChannels(on, four, `Inside, at ${stage}`);
    const area =
      k === middle ? `${names.length} / 1 / auto / -1` : k < middle ? `${k + 1} / 1` : `${names.length - k} / 2`;
    return h(
      "figure",
      { style: `grid-area: ${area}` },
      on,
      h("figcaption", {}, stage.replace(/_blocks?/, ""), " ", h("span", { class: "shape" }, by(map.shape.slice(1)))),
    );
  });
}
