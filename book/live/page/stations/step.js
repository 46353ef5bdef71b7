/** A step: noise taken away, a picture guessed, and when its layout is decided. */

import { stepChart } from "../chart.js";
import { breaker } from "../controls.js";
import { h, put } from "../dom.js";
import { told } from "../numbers.js";
import { settled, settledFrom, shownIndex } from "../run.js";
import { canvas, drawChannels, drawPicture } from "../squares.js";

/** @typedef {import("../app.js").App} App */

export const id = "step";
export const name = "Step";
export const title = "Take a little noise away, and ask again";
export const lede =
  "The noisy latents minus σ times the guessed noise are a guess of the finished picture. The scheduler does not jump there: it goes a part of the way, to the next σ, and the UNet is asked again. The rough layout is decided in the first steps; the later ones only make it sharper.";

const LIKE = 0.9; // from this likeness on the page calls a part of the picture decided

/** @param {App} app */
export function build(app) {
  const noisy = canvas("squares");
  const expected = canvas("photo");
  const after = canvas("squares");
  const captions = [h("figcaption"), h("figcaption"), h("figcaption")];
  const chart = h("figure", { class: "wide" });
  const twice = breaker(
    app,
    "step_twice",
    "take the first step twice.",
    "From then on the scheduler stands one stair lower than the UNet is told.",
  );
  const drawing = h(
    "div",
    { class: "triple" },
    ...[noisy, expected, after].map((on, k) => h("figure", {}, on, captions[k])),
    chart,
  );
  return {
    drawing,
    controls: h("div", {}, twice.element),
    update() {
      twice.update();
      const { run } = app;
      const step = run.steps[shownIndex(run, app.settings.step)];
      if (!step) return;
      const at = step.index + 1;
      drawChannels(noisy, step.noisy, `Noisy latents before step ${at}`);
      drawPicture(expected, app.pictureOf(step), `The picture that the UNet expects at step ${at} of ${run.total}`);
      drawChannels(after, step.latents, `Latents after step ${at}`);
      put(captions[0], `before, σ ${told(step.sigma)}`);
      put(captions[1], step.picture || app.decodes(run) ? "expected picture" : "expected, roughly");
      put(captions[2], `after, σ ${told(step.sigma_next)}`);
      put(chart, ...layout(app));
    },
  };
}

/** @param {App} app */
function layout(app) {
  const { run } = app;
  if (run.steps.length < 3) return [];
  const { coarse, fine } = settled(run);
  const clipped = (/** @type {number[]} */ values) => values.map((value) => Math.max(0, value));
  const lines = [
    { name: "coarse", values: clipped(coarse), kind: "accent" },
    { name: "fine", values: clipped(fine), kind: "plain" },
  ];
  const [first, second] = [coarse, fine].map((values) => settledFrom(values, LIKE) + 1);
  const words = `From step ${first} of ${run.steps.length} on the coarse part is at least ${LIKE} like the last guess, the fine part from step ${second} on.`;
  const chart = stepChart({
    lines,
    top: 1,
    yLabel: "how like the last guess (cosine)",
    step: shownIndex(run, app.settings.step),
    words,
    ticks: [0, 0.5, 1],
  });
  const key = h(
    "span",
    { class: "key" },
    h("i", { class: "accent" }),
    " layout: 4 × 4 large blocks ",
    h("i", { class: "plain" }),
    " detail: what they leave",
  );
  return [chart, h("figcaption", {}, key, h("br"), words)];
}
