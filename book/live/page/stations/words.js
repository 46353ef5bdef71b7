/** Words: the prompt as pieces and ids, and the world's words to build one. */

import { h, put } from "../dom.js";
import { anyScene, caption, readScene } from "../words.js";

/** @typedef {import("../app.js").App} App */

export const id = "words";
export const name = "Words";
export const title = "The machine reads pieces, not words";
export const lede =
  "A tokenizer cuts your prompt into pieces that it knows, and gives each its number from a list. There are always 77 places: a start, the pieces, an end, and padding.";

/** @param {App} app */
export function build(app) {
  const pieces = h("ol", { class: "pieces", "aria-label": "pieces and their numbers" });
  const remark = h("p", { class: "remark" });
  const places = h("div", { class: "places", role: "img" });
  const builder = sentence(app);
  const surprise = h(
    "button",
    {
      type: "button",
      class: "quiet",
      onclick: () => app.change({ prompt: caption(anyScene(app.example.world, Math.random)) }),
    },
    "Surprise me",
  );
  const drawing = h(
    "div",
    {},
    pieces,
    places,
    remark,
    h("h3", {}, "Put a sentence together: this model's whole world"),
    builder.element,
    surprise,
    builder.note,
  );
  return {
    drawing,
    controls: null,
    update() {
      const { tokens } = app;
      const nameless = !tokens.words.length && app.run.source === "file";
      const shown = tokens.count + 2;
      put(pieces, ...tokens.ids.slice(0, shown).map((number, k) => piece(tokens, k, number, shown)));
      put(
        places,
        ...tokens.ids.map((_, k) => h("i", { class: k === 0 || k === shown - 1 ? "edge" : k < shown ? "used" : "" })),
      );
      const padding = tokens.ids.length - shown;
      places.setAttribute(
        "aria-label",
        `${tokens.ids.length} places: start, ${tokens.count} pieces, end, ${padding} times padding`,
      );
      put(remark, nameless ? "This file holds the numbers of the pieces, not the pieces." : told(tokens, padding));
      builder.update();
    },
  };
}

/**
 * @param {import("../../types.js").Tokens} tokens
 * @param {number} k
 * @param {number} number
 * @param {number} shown
 */
function piece(tokens, k, number, shown) {
  const edge = k === 0 ? "start" : k === shown - 1 ? "end" : "";
  const word = tokens.words.find(({ positions }) => positions.includes(k));
  const text = edge || tokens.pieces[k].replace("</w>", "");
  const inside = word && word.positions.length > 1 && k !== word.positions[0];
  const kind = [edge && "edge", word && !word.known && "unknown", inside && "joined"].filter(Boolean).join(" ");
  return h("li", { class: kind }, h("b", {}, text || "·"), h("span", {}, number));
}

/**
 * What is worth a sentence: words that are cut off or that the model never read.
 * @param {import("../../types.js").Tokens} tokens
 * @param {number} padding
 */
function told(tokens, padding) {
  const said = [`${tokens.count === 1 ? "One piece" : `${tokens.count} pieces`}, then ${padding} times padding.`];
  const unknown = [...new Map(tokens.words.filter((word) => !word.known).map((word) => [word.word, word])).values()];
  if (unknown.length) {
    const split = unknown.slice(0, 4).map(({ word, positions }) => {
      const parts = positions.map((k) => tokens.pieces[k].replace("</w>", "")).join(" · ");
      return positions.length ? `“${word.slice(0, 30)}” (${parts.slice(0, 60)})` : `“${word.slice(0, 30)}”`;
    });
    const more = unknown.length > 4 ? ` and ${unknown.length - 4} more` : "";
    said.push(
      `This small model never read ${split.join(", ")}${more} in its training. It does not refuse: it paints something that it does know.`,
    );
  }
  if (tokens.cut) said.push(`There is no room for the last ${tokens.cut} pieces: the model never sees them.`);
  return said.join(" ");
}

/**
 * The prompt as a sentence with choices in it.
 * @param {App} app
 */
function sentence(app) {
  const { world } = app.example;
  const choices = /** @type {const} */ ([
    ["style", world.styles, "style"],
    ["rider_colour", ["", ...world.colours], "colour of the rider"],
    ["rider", ["", ...world.riders], "rider"],
    ["mount_colour", ["", ...world.colours], "colour of the mount"],
    ["mount", ["", ...world.mounts], "mount"],
    ["place", ["", ...world.places], "place"],
  ]);
  const note = h("p", { class: "remark", role: "status" });
  const selects = choices.map(([key, words, label]) =>
    h(
      "select",
      { "aria-label": label, "data-part": key, onchange: choose },
      ...words.map((word) => h("option", { value: word }, word || "–")),
    ),
  );
  const [style, riderColour, rider, mountColour, mount, place] = selects;
  const scene = () => ({
    style: style.value,
    rider_colour: rider.value && riderColour.value,
    rider: rider.value,
    mount_colour: mount.value && mountColour.value,
    mount: mount.value,
    place: place.value,
  });
  function choose() {
    const chosen = scene();
    if (!chosen.rider && !chosen.mount && !chosen.place) return put(note, "Choose a rider, a mount or a place.");
    app.change({ prompt: caption(chosen) });
  }
  const [one, other, joined] = [h("span"), h("span"), h("span")];
  const element = h(
    "p",
    { class: "sentence" },
    "a ",
    style,
    " of ",
    one,
    riderColour,
    " ",
    rider,
    joined,
    other,
    mountColour,
    " ",
    mount,
    " ",
    place,
  );
  const article = (/** @type {string} */ words) => words.trim() && (/^[aeiou]/.test(words.trim()) ? "an " : "a ");
  const set = (/** @type {import("../words.js").Scene | undefined} */ found) =>
    found && choices.forEach(([key], k) => (selects[k].value = found[key]));
  set(readScene(world, app.example.run.prompt)); // where the prompt is no sentence of this world
  const update = () => {
    const found = readScene(world, app.settings.prompt);
    set(found);
    const { rider_colour, rider: who, mount_colour, mount: what } = scene();
    put(one, article(`${rider_colour} ${who}`));
    put(joined, who && what ? " riding " : " ");
    put(other, article(`${mount_colour} ${what}`));
    const never = found && world.held_out.some(([one, other]) => one === found.rider && other === found.mount);
    put(
      note,
      never
        ? `In its training the model never saw the pair ${found.rider} and ${found.mount}. It has to put it together.`
        : "",
    );
  };
  return { element, note, update };
}
