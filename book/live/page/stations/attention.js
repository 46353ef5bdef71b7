/** Attention: which word each square of the picture listens to. */

import { h, put } from "../dom.js";
import { mean, part, percent } from "../numbers.js";
import { shownIndex } from "../run.js";
import { canvas, drawAmounts, drawPicture } from "../squares.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../../types.js").Tensor} Tensor */

export const id = "attention";
export const name = "Attention";
export const title = "Each square listens to the words";
export const lede =
  "Words enter the UNet by one kind of door: cross-attention. There every square of the picture shares out its attention among all 77 places. Choose a word, and see which squares listen to it.";

const SOLID = 165; // of 255: the picture still shines through the heat

/** @param {App} app */
export function build(app) {
  const photo = canvas("photo");
  const heat = canvas("squares heat");
  const caption = h("figcaption");
  const words = h("fieldset", { class: "words" });
  let chosen = "";
  let listed = "";

  function update() {
    const { run, settings } = app;
    const step = run.steps[shownIndex(run, settings.step)];
    if (!step?.attention) {
      put(words);
      listed = "";
      heat.hidden = photo.hidden = true;
      put(
        caption,
        run.source === "file"
          ? "A trace file does not hold the attention. Close the file to see that of the tiny model."
          : "No step has been taken yet.",
      );
      return;
    }
    heat.hidden = photo.hidden = false;
    const { tokens } = run;
    const known = tokens.words.filter(({ positions }) => positions.length);
    if (!known.some(({ positions }) => String(positions) === chosen)) chosen = String(sharpest(step.attention, known));
    const names = JSON.stringify(known);
    if (names !== listed) list(known);
    listed = names;
    const word = known.find(({ positions }) => String(positions) === chosen);
    if (!word) return put(caption, "This prompt has no word to listen to.");
    const map = summed(step.attention, word.positions);
    const picture = app.pictureOf(step);
    if (picture) drawPicture(photo, picture, `What the UNet expects at step ${step.index + 1}`);
    drawAmounts(heat, map, `How much each square listens to “${word.word}”; the warmest is ${where(map)}`, SOLID);
    const rest = mean(summed(step.attention, range(tokens.count + 2, tokens.ids.length)).data);
    put(
      caption,
      `“${word.word}” gets ${percent(mean(map.data))} of all attention at step ${step.index + 1}, and up to ${percent(Math.max(...map.data))} in one square, ${where(map)}. The padding gets ${percent(rest)}: its vectors know the whole prompt.`,
    );
  }

  /** @param {{word: string, positions: number[]}[]} known */
  function list(known) {
    const radios = known.map(({ word, positions }) => {
      const value = String(positions);
      const choose = () => {
        chosen = value;
        update();
      };
      return h(
        "label",
        {},
        h("input", { type: "radio", name: "word", value, checked: value === chosen, onchange: choose }),
        h("span", {}, word),
      );
    });
    put(words, h("legend", {}, "Choose a word"), ...radios);
  }
  return { drawing: h("figure", {}, h("div", { class: "over" }, photo, heat), caption), controls: words, update };
}

/**
 * @param {number} from
 * @param {number} to
 */
const range = (from, to) => Array.from({ length: Math.max(0, to - from) }, (_, k) => from + k);

/**
 * The attention of several places together, (rows, columns).
 * @param {Tensor} attention (places, rows, columns)
 * @param {number[]} positions
 * @returns {Tensor}
 */
function summed(attention, positions) {
  const [, ...shape] = attention.shape;
  const data = new Float32Array(shape[0] * shape[1]);
  for (const each of positions) part(attention, each).data.forEach((value, k) => (data[k] += value));
  return { shape, data };
}

/**
 * The word whose heat stands out most from its own mean: where to look first.
 * @param {Tensor} attention
 * @param {{positions: number[]}[]} words
 */
function sharpest(attention, words) {
  const scores = words.map(({ positions }) => {
    const { data } = summed(attention, positions);
    return Math.max(...data) - mean(data);
  });
  return words[scores.indexOf(Math.max(...scores))]?.positions;
}

/**
 * Where the warmest square lies, in words.
 * @param {Tensor} map
 */
function where({ shape: [rows, columns], data }) {
  const k = data.indexOf(Math.max(...data));
  const third = (/** @type {number} */ at, /** @type {number} */ size, /** @type {string[]} */ names) =>
    names[Math.floor((3 * at) / size)];
  const down = third(Math.floor(k / columns), rows, ["at the top", "in the middle", "at the bottom"]);
  const across = third(k % columns, columns, ["left", "", "right"]);
  return `${down}${across && `, ${across}`}`;
}
