/** Noise: a seed, the same numbers every time, and what other seeds make of the same words. */

import { seedControl } from "../controls.js";
import { h, put } from "../dom.js";
import { by, grouped, mean, std, told } from "../numbers.js";
import { pickRow } from "../picks.js";
import { canvas, drawChannels } from "../squares.js";

/** @typedef {import("../app.js").App} App */

export const id = "noise";
export const name = "Noise";
export const title = "Every picture begins as noise";
export const lede =
  "A seed is the number that starts the dice. The same seed gives the same noise, on any machine, and with the same words and settings the same picture. Another seed gives another noise, and so another picture of the same words.";

/** @param {App} app */
export function build(app) {
  const squares = canvas("squares large");
  const caption = h("figcaption");
  const seed = seedControl(app);
  const pictures = app.example.seeds.map((each) => ({
    ...each,
    words: `seed ${each.seed}`,
    choose: () => app.change({ seed: String(each.seed) }),
  }));
  const six = h(
    "section",
    { "aria-label": "six seeds" },
    h("p", { class: "remark" }, `“${app.example.run.prompt}”, six seeds`),
    pickRow(pictures),
  );
  return {
    drawing: h("div", { class: "pair" }, h("figure", {}, squares, caption), six),
    controls: seed.element,
    update() {
      const { noise } = app.run;
      seed.update();
      drawChannels(squares, noise, `The noise of seed ${app.run.seed || "unknown"}`);
      const [, channels, rows, columns] = noise.shape;
      const pixels = 3 * 64 * rows * columns;
      put(
        caption,
        `${grouped(noise.data.length)} numbers: ${by([channels, rows, columns])}. Their mean is ${told(mean(noise.data))}, their standard deviation ${told(std(noise.data))}. ` +
          `One square stands for 8 × 8 pixels, so there are ${Math.round(pixels / noise.data.length)} times fewer numbers than in the picture's colours.`,
      );
    },
  };
}
