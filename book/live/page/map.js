/** The map of the machine: every part with what flows through it now, the shown one lit, and the loop. */

import { h, put, s } from "./dom.js";
import { part } from "./numbers.js";
import { shownIndex } from "./run.js";
import { drawAmounts, drawChannels, drawPicture, drawRows } from "./squares.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {{id: string, name: string}} Place */

/** Which part hands on to which, and by which sides. */
const FLOW = /** @type {const} */ ([
  ["words", "vectors"],
  ["vectors", "unet"],
  ["noise", "levels"],
  ["levels", "unet"],
  ["unet", "guidance"],
  ["guidance", "step"],
  ["step", "picture"],
]);
/** @type {Record<string, import("./settings.js").Break[]>} */
const BROKEN = { unet: ["no_scaling", "wrong_timestep"], step: ["step_twice"], picture: ["unscaled_decode"] };

/**
 * @param {App} app
 * @param {HTMLElement} nav
 * @param {readonly Place[]} places
 */
export function buildMap(app, nav, places) {
  const lines = s("svg", { class: "flow", "aria-hidden": "true" });
  const buttons = new Map(
    places.map(({ id, name }, k) => {
      const thumb = ["words", "levels", "guidance", "unet"].includes(id)
        ? s("svg", { viewBox: "0 0 64 40" })
        : h("canvas", { class: id === "picture" || id === "step" ? "photo" : "squares" });
      thumb.setAttribute("aria-hidden", "true");
      const button = h(
        "button",
        { type: "button", "data-at": id, onclick: () => app.change({ at: id }) },
        thumb,
        h("span", {}, h("small", {}, k + 1), ` ${name}`),
      );
      return [id, { button, thumb }];
    }),
  );
  put(nav, lines, ...[...buttons.values()].map(({ button }) => button));
  new ResizeObserver(() => drawFlow(nav, lines, buttons)).observe(nav);

  return function update() {
    for (const [id, { button, thumb }] of buttons) {
      if (id === app.settings.at) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
      const broken = (BROKEN[id] ?? []).some((each) => app.run.breaks.includes(each));
      button.classList.toggle("broken", broken);
      button.title = broken ? "broken on purpose" : "";
      drawThumb(app, id, thumb);
    }
    nav.classList.toggle("busy", app.busy);
  };
}

/**
 * What flows through a part, small.
 * @param {App} app
 * @param {string} id
 * @param {Element} thumb
 */
function drawThumb(app, id, thumb) {
  const { run } = app;
  const step = run.steps[shownIndex(run, app.settings.step)];
  const on = /** @type {HTMLCanvasElement} */ (thumb);
  if (id === "words") {
    const shown = run.tokens.count + 2;
    const kind = (/** @type {number} */ k) => (k === 0 || k === shown - 1 ? "edge" : k < shown ? "used" : "");
    const place = (/** @type {number} */ _, /** @type {number} */ k) =>
      s("rect", {
        class: `place ${kind(k)}`,
        x: 2 + 5.5 * (k % 11),
        y: 1 + 5.5 * Math.floor(k / 11),
        width: 4.2,
        height: 4.2,
        rx: 0.8,
      });
    put(thumb, ...run.tokens.ids.slice(0, 77).map(place));
  } else if (id === "vectors") {
    drawRows(on, part(run.text_embeddings, 1), "", 2.5);
  } else if (id === "noise") {
    drawChannels(on, run.noise, "");
  } else if (id === "levels") {
    const top = run.sigmas[0];
    const x = (/** @type {number} */ k) => 4 + (56 * k) / run.total;
    const y = (/** @type {number} */ sigma) => 36 - (32 * sigma) / top;
    const points = run.sigmas.map((sigma, k) => `${x(k).toFixed(1)},${y(sigma).toFixed(1)}`).join(" ");
    put(
      thumb,
      s("polyline", { class: "curve accent", points }),
      step && s("circle", { class: "dot accent", cx: x(step.index), cy: y(step.sigma), r: 4 }),
    );
  } else if (id === "unet") {
    put(thumb, s("path", { class: "shape", d: "M6 4 L27 15 V25 L6 36 Z M58 4 L37 15 V25 L58 36 Z" }));
  } else if (id === "attention") {
    const word = run.tokens.words[run.tokens.words.length - 1];
    if (step?.attention && word?.positions.length) drawAmounts(on, part(step.attention, word.positions[0]), "");
    else drawAmounts(on, { shape: [1, 1], data: new Float32Array(1) }, "");
  } else if (id === "guidance") {
    const tips = /** @type {const} */ ([
      ["plain", 20, 6],
      ["ink", 32, 7],
      ["accent", 56, 10],
    ]);
    put(thumb, ...tips.map(([kind, x, y]) => s("line", { class: `arrow ${kind}`, x1: 16, y1: 37, x2: x, y2: y })));
  } else if (step && id === "step") {
    drawPicture(on, app.pictureOf(step));
  } else if (step && id === "picture") {
    drawPicture(on, app.finished(run));
  }
  on.removeAttribute("aria-label"); // the button has its name
}

/**
 * Arrows between the parts, and the loop back from step to levels below all of them.
 * @param {HTMLElement} nav
 * @param {SVGSVGElement} lines
 * @param {Map<string, {button: HTMLElement, thumb: Element}>} buttons
 */
function drawFlow(nav, lines, buttons) {
  const { width, height, left, top } = nav.getBoundingClientRect();
  const at = (/** @type {string} */ id) => {
    const box = /** @type {Element} */ (buttons.get(id)?.thumb).getBoundingClientRect();
    return {
      left: box.left - left,
      right: box.right - left,
      middle: box.top - top + box.height / 2,
      centre: box.left - left + box.width / 2,
      bottom: box.bottom - top,
    };
  };
  lines.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const gap = 5;
  const paths = FLOW.map(([from, to]) => {
    const [start, end] = [at(from), at(to)];
    const [x1, x2] = [start.right + gap, end.left - gap];
    if (x2 - x1 < 6) return null; // no room: their order says it
    const bend = x2 - Math.min(16, (x2 - x1) / 2);
    const way = Math.abs(start.middle - end.middle) < 2 ? `H${x2}` : `H${bend} V${end.middle} H${x2}`;
    return s("path", { d: `M${x1} ${start.middle} ${way}`, "marker-end": "url(#tip)" });
  });
  const [step, unet, attention] = ["step", "unet", "attention"].map(at);
  const below = /** @type {Element} */ (buttons.get("unet")?.button).getBoundingClientRect().bottom - top;
  const dashed = s("path", {
    class: "dashed",
    d: `M${unet.centre} ${below} V${attention.middle - (attention.bottom - attention.middle) - gap}`,
  });
  const highest = Math.min(...["unet", "guidance", "step"].map((id) => at(id).middle * 2 - at(id).bottom));
  const roof = Math.max(3, highest - 20);
  const loop = s("path", {
    class: "loop",
    d: `M${step.centre} ${highest - gap} V${roof} H${unet.centre} V${highest - 2}`,
    "marker-end": "url(#loop-tip)",
  });
  const tip = (/** @type {string} */ id) =>
    s(
      "marker",
      {
        id,
        viewBox: "0 0 8 8",
        refX: 7,
        refY: 4,
        markerWidth: 9,
        markerHeight: 9,
        markerUnits: "userSpaceOnUse",
        orient: "auto",
      },
      s("path", { class: id, d: "M0 0 L8 4 L0 8 Z" }),
    );
  put(lines, s("defs", {}, tip("tip"), tip("loop-tip")), ...paths, dashed, loop);
}
