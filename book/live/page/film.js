/** The loop, unrolled: every step's expected picture, a slider over them, play, pause and single steps. */

import { h, put } from "./dom.js";
import { told } from "./numbers.js";
import { shownIndex } from "./run.js";
import { drawPicture } from "./squares.js";

/** @typedef {import("./app.js").App} App */

/** @type {import("../types.js").Picture} */
const BLANK = { width: 1, height: 1, data: new Uint8ClampedArray(4) };
const PACE = 350; // milliseconds a step: slow enough to see what changes

/**
 * @param {App} app
 * @param {HTMLElement} place
 */
export function buildFilm(app, place) {
  const strip = h("div", { class: "strip", "aria-hidden": "true" });
  const range = h("input", { type: "range", min: 0, "aria-label": "step", oninput: () => goTo(Number(range.value)) });
  const now = h("output");
  const play = h("button", { type: "button", onclick: toggle }, "Play");
  const back = h("button", { type: "button", "aria-label": "one step back", onclick: () => goTo(shown() - 1) }, "‹");
  const on = h("button", { type: "button", "aria-label": "one step on", onclick: () => goTo(shown() + 1) }, "›");
  put(place, h("div", { class: "knobs" }, back, play, on, now), h("div", { class: "rail" }, strip, range));
  let timer = 0;
  /** @type {(import("../types.js").Picture | undefined)[]} */
  let drawn = [];

  const shown = () => shownIndex(app.run, app.settings.step);

  /** @param {number} step */
  function goTo(step) {
    pause();
    look(step);
  }

  /** @param {number} step the last one is the newest: then the page follows a run that is on its way */
  function look(step) {
    const last = app.run.steps.length - 1;
    app.change({ step: step >= last ? null : Math.max(0, step) });
  }

  function pause() {
    clearInterval(timer);
    timer = 0;
    put(play, "Play");
  }

  function toggle() {
    if (timer) return pause();
    put(play, "Pause");
    if (shown() >= app.run.steps.length - 1) look(0);
    timer = window.setInterval(() => {
      look(shown() + 1);
      if (app.settings.step === null && !app.busy) pause();
    }, PACE);
  }

  return function update() {
    const { run } = app;
    const at = shown();
    const sigma = at < 0 ? "" : told(run.steps[at].sigma);
    range.max = String(Math.max(0, run.total - 1));
    range.value = String(at);
    range.setAttribute("aria-valuetext", at < 0 ? "no step yet" : `step ${at + 1} of ${run.total}, σ ${sigma}`);
    put(now, at < 0 ? "…" : `step ${at + 1} of ${run.total}`, h("small", {}, at < 0 ? "" : ` σ ${sigma}`));
    for (const button of [play, back, on]) button.disabled = run.steps.length < 2;
    strip.classList.toggle("few", run.total <= 12);
    if (strip.childElementCount !== run.total) {
      put(
        strip,
        ...Array.from({ length: run.total }, (_, k) =>
          h("canvas", { class: "photo", width: 1, height: 1, onclick: () => goTo(k) }),
        ),
      );
      drawn = [];
    }
    [...strip.children].forEach((child, k) => {
      const frame = /** @type {HTMLCanvasElement} */ (child);
      const step = run.steps[k];
      const picture = step && app.pictureOf(step);
      if (drawn[k] !== picture) drawPicture(frame, picture ?? BLANK);
      drawn[k] = picture;
      frame.classList.toggle("now", k === at);
      frame.classList.toggle("coming", k >= run.steps.length);
    });
  };
}
