/** What a visitor turns: each control has a label, says its value, and follows the settings when they change elsewhere. */

import { h } from "./dom.js";
import { asSeed } from "./settings.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {{element: HTMLElement, update: () => void}} Control */

let made = 0;

/**
 * A slider for a number among the settings.
 * @param {App} app
 * @param {"steps" | "guidance"} name
 * @param {{label: string, min: number, max: number, by: number, moved?: () => void}} about `moved` is called at
 *   every value on the way
 * @returns {Control & {value: () => number}} `value` is the one that the slider tells now
 */
export function slider(app, name, { label, min, max, by, moved }) {
  const id = `control-${++made}`;
  const shown = h("output", { for: id });
  let written = NaN;
  const input = h("input", {
    id,
    type: "range",
    min,
    max,
    step: by,
    oninput: () => {
      tell(input.value);
      moved?.();
    },
    onchange: () => {
      written = NaN;
      app.change({ [name]: Number(input.value) });
    },
  });
  /** @param {string} value which may lie beyond the slider's ends */
  const tell = (value) => {
    shown.value = value;
    input.setAttribute("aria-valuetext", value);
  };
  const update = () => {
    const value = app.shown[name];
    if (value === written) return; // a visitor may be moving it
    input.value = String((written = value));
    tell(String(value));
  };
  update();
  const element = h("div", { class: "control" }, h("label", { for: id }, label), shown, input);
  return { element, update, value: () => Number(shown.value) };
}

/**
 * The seed: a slider for the first hundred, a box for any other.
 * @param {App} app
 * @returns {Control}
 */
export function seedControl(app) {
  const [id, boxId] = [`control-${++made}`, `control-${++made}`];
  /** @type {string | undefined} */
  let written;
  const change = (/** @type {string} */ seed) => {
    written = undefined;
    app.change({ seed });
  };
  const range = h("input", {
    id,
    type: "range",
    min: 0,
    max: 100,
    oninput: () => (box.value = range.value),
    onchange: () => change(range.value),
  });
  const box = h("input", {
    id: boxId,
    class: "number",
    inputmode: "numeric",
    autocomplete: "off",
    "aria-label": "seed, any whole number",
    onchange: () => {
      const seed = asSeed(box.value.trim());
      if (seed !== undefined) change(seed);
      else app.say("A seed is a whole number from 0 to 18446744073709551615.");
      box.setAttribute("aria-invalid", String(seed === undefined));
    },
  });
  const update = () => {
    const { seed } = app.shown;
    if (seed === written) return; // a visitor may be typing another one
    box.value = written = seed;
    range.value = seed.length < 4 ? seed : "100";
    box.removeAttribute("aria-invalid");
  };
  update();
  return { element: h("div", { class: "control" }, h("label", { for: id }, "Seed"), box, range), update };
}

/**
 * A choice among a few.
 * @param {App} app
 * @param {"order" | "schedule"} name
 * @param {string} label
 * @param {[string | number, string][]} options value and words
 * @returns {Control}
 */
export function choice(app, name, label, options) {
  const id = `control-${++made}`;
  const input = h(
    "select",
    { id, onchange: () => app.change({ [name]: options[input.selectedIndex][0] }) },
    ...options.map(([value, words]) => h("option", { value }, words)),
  );
  const update = () => (input.value = String(app.settings[name]));
  update();
  return { element: h("div", { class: "control" }, h("label", { for: id }, label), input), update };
}

/**
 * A line of text among the settings.
 * @param {App} app
 * @param {"negative" | "compare"} name
 * @param {string} label
 * @param {string} example
 * @returns {Control}
 */
export function line(app, name, label, example) {
  const id = `control-${++made}`;
  const input = h("input", {
    id,
    placeholder: example,
    autocomplete: "off",
    onchange: () => app.change({ [name]: input.value }),
  });
  const update = () => {
    if (input !== document.activeElement) input.value = app.shown[name];
  };
  update();
  return { element: h("div", { class: "control tall" }, h("label", { for: id }, label), input), update };
}

/**
 * A switch that breaks something on purpose, and what it breaks.
 * @param {App} app
 * @param {import("./settings.js").Break} name
 * @param {string} label
 * @param {string} words
 * @returns {Control}
 */
export function breaker(app, name, label, words) {
  const input = h("input", {
    type: "checkbox",
    onchange: () => {
      const others = app.settings.breaks.filter((each) => each !== name);
      app.change({ breaks: input.checked ? [...others, name] : others });
    },
  });
  const update = () => void (input.checked = app.settings.breaks.includes(name));
  update();
  const element = h(
    "label",
    { class: "breaker" },
    input,
    h("span", {}, h("strong", {}, `Break it: ${label}`), ` ${words}`),
  );
  return { element, update };
}
