/** Guidance: two guesses as two arrows, and the third that goes from one towards the other, and beyond. */

import { arrowChart } from "../chart.js";
import { line, slider } from "../controls.js";
import { h, put } from "../dom.js";
import { blend, cosine, dot, norm, told } from "../numbers.js";
import { shownIndex } from "../run.js";
import { pickRow } from "../picks.js";
import { canvas, drawAmounts } from "../squares.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../../types.js").Tensor} Tensor */

export const id = "guidance";
export const name = "Guidance";
export const title = "Two guesses, and a third beyond them";
export const lede =
  "One guess does not know your prompt, the other does. Their difference is what your words say. Guidance takes the first guess and adds that difference, several times. At 0 your words do not count, at 1 the second guess is taken as it is, and above 1 they count for more than the UNet itself would let them.";

/** @param {App} app */
export function build(app) {
  const plane = h("figure");
  const apart = canvas("squares");
  const apartCaption = h("figcaption");
  const guidance = slider(app, "guidance", { label: "Guidance", min: 0, max: 12, by: 0.5, moved: draw });
  const pictures = app.example.scales.map((each) => ({
    ...each,
    words: `guidance ${each.scale}`,
    choose: () => app.change({ guidance: each.scale }),
  }));
  const negative = line(app, "negative", "Instead of the empty text (negative prompt)", "a horse");
  const controls = h(
    "div",
    {},
    guidance.element,
    h("h3", {}, "One seed, four scales"),
    h(
      "p",
      { class: "remark" },
      `“${app.example.run.prompt}”, recorded. This small model is meant for 3; with v1.4, 7.5 to 8 is usual.`,
    ),
    pickRow(pictures),
    negative.element,
  );

  function draw() {
    const scale = guidance.value();
    const step = app.run.steps[shownIndex(app.run, app.settings.step)];
    if (!step) return;
    const { noise_uncond: uncond, noise_text: text } = step;
    if (!uncond || !text) {
      apart.hidden = true;
      put(apartCaption);
      return put(
        plane,
        h(
          "p",
          { class: "remark" },
          `At guidance ${app.run.guidance} only one guess was computed in this run: the other has no weight.`,
        ),
      );
    }
    apart.hidden = false;
    const first = app.run.negative ? "negative prompt" : "without words";
    put(plane, arrows(uncond, text, scale, first), h("figcaption", {}, words(uncond, text, scale, first, step.index)));
    const map = disagreement(uncond, text);
    drawAmounts(apart, map, "Where the two guesses differ, summed over the channels");
    put(apartCaption, "Where the two guesses differ: there your words have something to say.");
  }
  return {
    drawing: h("div", { class: "guess" }, plane, h("figure", {}, apart, apartCaption)),
    controls,
    update() {
      guidance.update();
      negative.update();
      draw();
    },
  };
}

/**
 * @param {Tensor} uncond
 * @param {Tensor} text
 * @param {number} scale
 * @param {string} first what the first guess knew
 */
function arrows(uncond, text, scale, first) {
  // The plane that both span: up is the first guess, to the right what leads away from it.
  const length = norm(uncond.data);
  const along = dot(text.data, uncond.data) / length;
  const aside = Math.sqrt(Math.max(0, norm(text.data) ** 2 - along ** 2));
  const tip = (/** @type {number} */ at) => ({ x: at * aside, y: length + at * (along - length) });
  const all = [
    { name: first, kind: "plain", ...tip(0) },
    { name: "with yours", kind: "ink", ...tip(1) },
    { name: `guided, ${scale}`, kind: "accent", ...tip(scale) },
  ];
  const said = `Arrows from one point in the plane of the two guesses: ${first} ${told(length)} long, with yours ${told(norm(text.data))}, the guided one at ${scale} ${told(norm(blend(uncond.data, text.data, scale)))}; beside them their tips, enlarged`;
  return arrowChart(scale === 0 || scale === 1 ? [all[1 - scale], all[2]] : all, said);
}

/**
 * @param {Tensor} uncond
 * @param {Tensor} text
 * @param {number} scale
 * @param {string} first what the first guess knew
 * @param {number} index
 */
function words(uncond, text, scale, first, index) {
  const angle = (Math.acos(Math.min(1, cosine(uncond.data, text.data))) * 180) / Math.PI;
  const guided = norm(blend(uncond.data, text.data, scale));
  return `Step ${index + 1}: the two guesses are ${angle.toFixed(1)}° apart, and ${told(norm(uncond.data))} and ${told(norm(text.data))} long. The guided one is ${told(guided)} long: ${first} + ${scale} × (with yours − ${first}).`;
}

/**
 * How far apart two guesses are at each square: the length of the difference over the channels.
 * @param {Tensor} one
 * @param {Tensor} other
 * @returns {Tensor} (rows, columns)
 */
function disagreement(one, other) {
  const [, channels, rows, columns] = one.shape;
  const data = new Float32Array(rows * columns);
  for (let k = 0; k < channels * rows * columns; k++) data[k % data.length] += (other.data[k] - one.data[k]) ** 2;
  return { shape: [rows, columns], data: data.map(Math.sqrt) };
}
