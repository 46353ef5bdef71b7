/** Curves over the steps and arrows in a plane, as SVG that takes its colours from the style sheet. */

import { s } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [560, 240, 46, 40, 30]; // units of the drawing; the page scales it

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
  /** @type {SVGElement[]} */
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
    values.forEach((value, k) =>
      parts.push(s("circle", { class: `dot ${kind}`, cx: x(k), cy: y(value), r: k === step ? 6 : 3 })),
    );
  }
  parts.push(s("text", { class: "tick", x: WIDTH - 14, y: HEIGHT - 3, "text-anchor": "end" }, "step"));
  parts.push(s("text", { class: "tick", x: LEFT + 4, y: TOP - 12 }, yLabel));
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
 * Arrows from one point, all in one scale, and beside them their tips enlarged: the first one's tip leads to each other.
 * @param {Arrow[]} arrows the first stands upright
 * @param {string} words
 */
export function arrowChart(arrows, words) {
  const [width, height, top, foot] = [480, 320, 44, 300];
  const scale = Math.min(...arrows.map(({ x, y }) => Math.min((foot - top) / Math.max(y, 1e-9), 80 / Math.max(x, 1e-9))));
  const whole = arrows.map(({ kind, x, y }) => arrow(kind, 40, foot, 40 + x * scale, foot - y * scale));
  const [first] = arrows;
  const left = Math.min(...arrows.map(({ x }) => x));
  const reach = Math.max(
    ...arrows.map(({ x, y }) => Math.max((x - left) / 140, Math.abs(y - first.y) / 110)),
    1e-9,
  );
  const place = (/** @type {Arrow} */ { x, y }) =>
    /** @type {const} */ ([240 + (x - left) / reach, 150 - (y - first.y) / reach]);
  const [startX, startY] = place(first);
  const side = place(arrows[arrows.length - 1])[1] > startY ? -1 : 1; // labels stand on the side that arrows leave free
  const tips = [...arrows].reverse().flatMap((each) => {
    const [x, y] = place(each);
    const turned = each === first ? [] : [arrow(each.kind, startX, startY, x, y)];
    const accent = each.kind === "accent";
    const y2 = y + 6 + 20 * (accent ? -side : side);
    const anchor = each === first ? "end" : accent ? "middle" : "start";
    const beside = { x: accent ? x : x + 10, "text-anchor": anchor };
    return [
      ...turned,
      s("circle", { class: `dot ${each.kind}`, cx: x, cy: y, r: 5 }),
      s("text", { class: `name ${each.kind}`, y: y2, ...beside }, each.name),
    ];
  });
  const times = 1 / reach / scale;
  return s(
    "svg",
    { class: "chart plane", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words },
    ...whole,
    s("circle", { class: "origin", cx: 40, cy: foot, r: 4 }),
    s("text", { x: 20, y: 22 }, "true to scale"),
    s("line", { class: "grid", x1: 130, x2: 130, y1: 10, y2: height - 10 }),
    s("text", { x: 150, y: 22 }, `the tips, ${times < 9.5 ? times.toFixed(1) : Math.round(times)} times larger`),
    ...tips,
  );
}

/**
 * @param {string} kind
 * @param {number} x1
 * @param {number} y1
 * @param {number} x2
 * @param {number} y2
 */
function arrow(kind, x1, y1, x2, y2) {
  const long = Math.hypot(x2 - x1, y2 - y1) || 1;
  const [ux, uy] = [(x2 - x1) / long, (y2 - y1) / long];
  const at = (/** @type {number} */ back, /** @type {number} */ aside) =>
    `${(x2 - back * ux - aside * uy).toFixed(1)},${(y2 - back * uy + aside * ux).toFixed(1)}`;
  return s(
    "g",
    {},
    s("line", { class: `arrow ${kind}`, x1, y1, x2: x2 - 9 * ux, y2: y2 - 9 * uy }),
    s("polygon", { class: `head ${kind}`, points: `${at(0, 0)} ${at(13, 5)} ${at(13, -5)}` }),
  );
}
