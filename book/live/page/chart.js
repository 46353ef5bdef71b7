/** Curves over the steps and arrows in a plane, as SVG that takes its colours from the style sheet. */

import { s } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [560, 300, 46, 40, 16]; // units of the drawing; the page scales it

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {number[]} values one for each step
 * @property {string} kind class for the style sheet
 */

/**
 * Curves over the steps, one of which is marked.
 * @param {{lines: Line[], top: number, bottom?: number, yLabel: string, step: number, words: string, ticks: number[]}} what
 */
export function stepChart({ lines, top, bottom = 0, yLabel, step, words, ticks }) {
  const count = Math.max(...lines.map((line) => line.values.length));
  const x = (/** @type {number} */ k) => LEFT + ((WIDTH - LEFT - 14) * k) / Math.max(count - 1, 1);
  const y = (/** @type {number} */ v) => TOP + (HEIGHT - BOTTOM - TOP) * (1 - (v - bottom) / (top - bottom || 1));
  const every = Math.max(1, Math.ceil(count / 10));
  const parts = [
    ...ticks.map((tick) => s("line", { class: "grid", x1: LEFT, x2: WIDTH - 14, y1: y(tick), y2: y(tick) })),
    ...ticks.map((tick) => s("text", { class: "tick", x: LEFT - 8, y: y(tick) + 5, "text-anchor": "end" }, tick)),
    s("line", { class: "mark", x1: x(step), x2: x(step), y1: TOP, y2: HEIGHT - BOTTOM }),
  ];
  for (let k = 0; k < count; k += every) {
    parts.push(s("text", { class: "tick", x: x(k), y: HEIGHT - BOTTOM + 20, "text-anchor": "middle" }, k + 1));
  }
  for (const { values, kind } of lines) {
    const points = values.map((value, k) => `${x(k).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    parts.push(s("polyline", { class: `curve ${kind}`, points }));
    values.forEach((value, k) => parts.push(s("circle", { class: `dot ${kind}`, cx: x(k), cy: y(value), r: k === step ? 6 : 3 })));
  }
  parts.push(s("text", { class: "tick", x: LEFT, y: HEIGHT - 3 }, "step"));
  parts.push(s("text", { class: "tick", x: LEFT + 4, y: TOP - 3 }, yLabel));
  return s("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words }, ...parts);
}

/**
 * @typedef {object} Arrow
 * @property {string} name
 * @property {number} x
 * @property {number} y
 * @property {string} kind class for the style sheet
 */

/**
 * Arrows from one point, all in one scale.
 * @param {Arrow[]} arrows
 * @param {string} words
 */
export function arrowChart(arrows, words) {
  const [width, height, pad] = [420, 340, 34];
  const xs = arrows.map((arrow) => arrow.x).concat(0);
  const ys = arrows.map((arrow) => arrow.y).concat(0);
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const scale = Math.min((width - 2 * pad - 60) / (right - left || 1), (height - 2 * pad) / (high - low || 1));
  const x = (/** @type {number} */ v) => pad + (v - left) * scale;
  const y = (/** @type {number} */ v) => height - pad - (v - low) * scale;
  const parts = arrows.flatMap(({ name, kind, ...tip }) => {
    const [dx, dy] = [x(tip.x) - x(0), y(tip.y) - y(0)];
    const long = Math.hypot(dx, dy) || 1;
    const [ux, uy] = [dx / long, dy / long];
    const at = (/** @type {number} */ back, /** @type {number} */ aside) =>
      `${(x(tip.x) - back * ux - aside * uy).toFixed(1)},${(y(tip.y) - back * uy + aside * ux).toFixed(1)}`;
    return [
      s("line", { class: `arrow ${kind}`, x1: x(0), y1: y(0), x2: x(tip.x) - 9 * ux, y2: y(tip.y) - 9 * uy }),
      s("polygon", { class: `head ${kind}`, points: `${at(0, 0)} ${at(13, 6)} ${at(13, -6)}` }),
      s("text", { class: `name ${kind}`, x: x(tip.x) + 9, y: y(tip.y) + 1 }, name),
    ];
  });
  parts.push(s("circle", { class: "origin", cx: x(0), cy: y(0), r: 4 }));
  return s("svg", { class: "chart plane", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words }, ...parts);
}
