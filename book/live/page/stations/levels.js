/** Levels: how strong the noise is at each step, and how the steps are spread. */

import { stepChart } from "../chart.js";
import { choice, slider } from "../controls.js";
import { h, put } from "../dom.js";
import { told } from "../numbers.js";
import { shownIndex } from "../run.js";

/** @typedef {import("../app.js").App} App */

export const id = "levels";
export const name = "Levels";
export const title = "A stairway from noise to none";
export const lede =
  "σ (sigma) says how strong the noise is: the latents are picture + σ × noise. The scheduler lays out the stairs from the strongest noise down to 0. Each stair has a timestep, the number by which the UNet is told how noisy it is.";

/** @param {App} app */
export function build(app) {
  const drawing = h("figure", { class: "wide" });
  const steps = slider(app, "steps", { label: "Steps", min: 1, max: 50, by: 1 });
  const schedule = choice(app, "schedule", "How the stairs are spread", [
    ["linspace", "evenly in time (v1.4's usual)"],
    ["karras", "Karras: finer at the end"],
  ]);
  const order = choice(app, "order", "Order of K-LMS", [
    [1, "1: follows the last slope (Euler)"],
    [2, "2: two slopes"],
    [3, "3: three slopes"],
    [4, "4: a curve through four slopes"],
  ]);
  const controls = [steps, schedule, order];
  return {
    drawing,
    controls: h("div", {}, ...controls.map((control) => control.element)),
    update() {
      controls.forEach((control) => control.update());
      const { sigmas, total, steps: done } = app.run;
      const shown = shownIndex(app.run, app.settings.step);
      const step = done[shown];
      if (!step) return;
      const values = sigmas.slice(0, total).map((sigma, k) => done[k]?.sigma ?? sigma);
      const words = `σ over ${values.length} steps, falling from ${told(values[0])} to ${told(values[values.length - 1])}, then 0; step ${shown + 1} is marked, at ${told(step.sigma)}`;
      const top = Math.max(...values);
      const chart = stepChart({
        lines: [{ name: "σ", values, kind: "accent" }],
        top: top * 1.05,
        yLabel: "σ",
        step: shown,
        words,
        ticks: [0, 5, 10, 15].filter((tick) => tick <= top * 1.05),
      });
      const weights = step.coefficients;
      put(
        drawing,
        chart,
        h(
          "figcaption",
          {},
          `Step ${shown + 1}: timestep ${told(step.timestep)}, from σ ${told(step.sigma)} to ${told(step.sigma_next)}.`,
          weights && ` K-LMS adds up the last slopes, newest first, with the weights ${weights.map(told).join(", ")}.`,
        ),
      );
    },
  };
}
