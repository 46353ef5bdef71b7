/** What a visitor can set, and the address that says it: everything behind the #, read with care and written anew. */

/** @typedef {"no_scaling" | "step_twice" | "wrong_timestep" | "unscaled_decode"} Break */

/**
 * @typedef {object} Settings
 * @property {string} prompt
 * @property {string} negative
 * @property {string} seed a whole number, 0 ... 2^64 - 1, in digits: larger than a JavaScript number can be
 * @property {number} steps
 * @property {number} guidance
 * @property {number} order
 * @property {"linspace" | "karras"} schedule
 * @property {Break[]} breaks
 * @property {string} compare the second prompt, whose vectors are compared; "" for none
 * @property {string} at the station that is shown
 * @property {number | null} step the step that is shown, from 0; null: the newest
 * @property {number | null} tour the tour's stop, from 0; null: no tour
 */

export const STATIONS = ["words", "vectors", "noise", "levels", "unet", "attention", "guidance", "step", "picture"];
/** @type {readonly Break[]} */
const BREAKS = ["no_scaling", "step_twice", "wrong_timestep", "unscaled_decode"];
export const LONGEST = 1000; // letters of a prompt that are read; the model itself reads at most 75 pieces
const ADDRESS = 28_000; // letters of an address: three such texts, and a letter may be written as %XX%XX%XX
const MOST_STEPS = 50;
const HIGHEST_SEED = 2n ** 64n - 1n;

/** @type {Readonly<Settings>} */
export const DEFAULTS = Object.freeze({
  prompt: "a photograph of an astronaut riding a horse",
  negative: "",
  seed: "42",
  steps: 20,
  guidance: 3,
  order: 4,
  schedule: "linspace",
  breaks: [],
  compare: "",
  at: "words",
  step: null,
  tour: null,
});

/**
 * @param {number} low
 * @param {number} high
 */
const whole = (low, high) => (/** @type {string} */ text) => {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : NaN;
  return value >= low && value <= high ? value : undefined;
};

/**
 * What the page reads of a text; no letter is cut in two.
 * @param {string} text
 */
export const readable = (text) => text.slice(0, LONGEST).replace(/[\ud800-\udbff]$/, "");

/** @param {string} text */
const phrase = (text) => (text.length <= LONGEST ? text : undefined);

/**
 * A seed in its shortest form, or undefined where it is none.
 * @param {string} text
 */
export function asSeed(text) {
  if (!/^\d{1,20}$/.test(text)) return undefined;
  const value = BigInt(text);
  return value <= HIGHEST_SEED ? String(value) : undefined;
}

/**
 * @template T
 * @param {readonly T[]} allowed
 */
const oneOf = (allowed) => (/** @type {string} */ text) => allowed.find((each) => String(each) === text);

/** @param {string} text */
function scale(text) {
  const value = /^-?\d{1,2}(\.\d{1,3})?$/.test(text) ? Number(text) : NaN;
  return value >= -5 && value <= 20 ? value : undefined;
}

/** @param {string} text */
function faults(text) {
  const named = text.split(",");
  const found = BREAKS.filter((each) => named.includes(each));
  return found.length === named.length ? found : undefined;
}

/**
 * How each part of the address is read, and what it may be.
 * @type {Record<keyof Settings, [(text: string) => any, string]>}
 */
const READERS = {
  prompt: [phrase, `a prompt of at most ${LONGEST} letters`],
  negative: [phrase, `a negative prompt of at most ${LONGEST} letters`],
  seed: [asSeed, "a seed, a whole number from 0 on"],
  steps: [whole(1, MOST_STEPS), `steps from 1 to ${MOST_STEPS}`],
  guidance: [scale, "guidance from −5 to 20"],
  order: [oneOf([1, 2, 3, 4]), "an order from 1 to 4"],
  schedule: [oneOf(/** @type {const} */ (["linspace", "karras"])), "a schedule, linspace or karras"],
  breaks: [faults, `breaks among ${BREAKS.join(", ")}`],
  compare: [phrase, `a second prompt of at most ${LONGEST} letters`],
  at: [oneOf(STATIONS), `a place among ${STATIONS.join(", ")}`],
  step: [whole(0, MOST_STEPS - 1), "a step of the run"],
  tour: [whole(0, 99), "a stop of the tour"],
};

/**
 * Read an address. What is missing or cannot be is as in DEFAULTS; `said` tells what could not be.
 * @param {string} hash with or without its #
 * @returns {{settings: Settings, said: string[]}}
 */
export function readHash(hash) {
  /** @type {Record<string, unknown>} */
  const found = {};
  const said = [];
  if (hash.length > ADDRESS) {
    return { settings: { ...DEFAULTS }, said: ["The address is too long to be one of this page's; it was not read."] };
  }
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  for (const [name, [read, allowed]] of Object.entries(READERS)) {
    const text = given.get(name);
    if (text === null) continue;
    const value = read(text);
    if (value === undefined) said.push(`The address does not hold ${allowed}; the page's own is taken.`);
    else found[name] = value;
  }
  return { settings: { ...DEFAULTS, ...found }, said };
}

/**
 * The address of a state: what is as in DEFAULTS is left out.
 * @param {Settings} settings
 */
export function writeHash(settings) {
  const told = new URLSearchParams();
  for (const name of /** @type {(keyof Settings)[]} */ (Object.keys(READERS))) {
    const [value, usual] = [settings[name], DEFAULTS[name]];
    if (value !== null && String(value) !== String(usual)) told.set(name, String(value));
  }
  return told.toString();
}

/**
 * Whether two states ask for the same picture.
 * @param {Settings} one
 * @param {Settings} other
 */
export function samePicture(one, other) {
  /** @type {(keyof Settings)[]} */
  const names = ["prompt", "negative", "seed", "steps", "guidance", "order", "schedule", "breaks"];
  return names.every((name) => String(one[name]) === String(other[name]));
}
