/** The sentences of the tiny world, put together from its words, as sdlesson.world.captions does it. */

/** @typedef {import("./example.js").World} World */

/**
 * @typedef {object} Scene "" where a thing is absent
 * @property {string} style
 * @property {string} rider_colour
 * @property {string} rider
 * @property {string} mount_colour
 * @property {string} mount
 * @property {string} place
 */

/** @param {string} words */
const withArticle = (words) => `${/^[aeiou]/.test(words) ? "an" : "a"} ${words}`;

/**
 * The scene's sentence; a place alone is named without its preposition.
 * @param {Scene} scene
 */
export function caption({ style, rider_colour, rider, mount_colour, mount, place }) {
  const named = (/** @type {string} */ colour, /** @type {string} */ noun) =>
    noun && withArticle(colour ? `${colour} ${noun}` : noun);
  const [one, other] = [named(rider_colour, rider), named(mount_colour, mount)];
  const subject = one && other ? `${one} riding ${other}` : one || other;
  const where = subject ? place : place.slice(place.indexOf(" ") + 1);
  return ["a", style, "of", subject, where].filter(Boolean).join(" ");
}

/**
 * The scene that a prompt names, or undefined where it is no sentence of this world.
 * @param {World} world
 * @param {string} prompt
 * @returns {Scene | undefined}
 */
export function readScene(world, prompt) {
  const any = (/** @type {string[]} */ words) => words.join("|");
  const noun = (/** @type {string} */ name, /** @type {string[]} */ nouns) =>
    `an? (?:(?<${name}_colour>${any(world.colours)}) )?(?<${name}>${any(nouns)})`;
  const pattern =
    `^a (?<style>${any(world.styles)}) of (?:${noun("rider", world.riders)}(?: riding (?=a))?)?` +
    `(?:${noun("mount", world.mounts)})? ?(?<place>${any(world.places)})?$`;
  const found = new RegExp(pattern).exec(prompt.trim().toLowerCase());
  if (!found?.groups) return undefined;
  const { style = "", rider_colour = "", rider = "", mount_colour = "", mount = "", place = "" } = found.groups;
  return { style, rider_colour, rider, mount_colour, mount, place };
}

/**
 * A scene by chance: a rider on a mount somewhere, every other mount with a colour.
 * @param {World} world
 * @param {() => number} random 0 ... 1
 * @returns {Scene}
 */
export function anyScene(world, random) {
  const one = (/** @type {string[]} */ words) => words[Math.floor(random() * words.length)];
  return {
    style: one(world.styles),
    rider_colour: "",
    rider: one(world.riders),
    mount_colour: random() < 0.5 ? one(world.colours) : "",
    mount: one(world.mounts),
    place: one(world.places),
  };
}
