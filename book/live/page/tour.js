/** The guided tour: one stop a part, about three minutes, in plain words. */

import { h, put } from "./dom.js";

/** @typedef {import("./app.js").App} App */

/**
 * @typedef {object} Stop
 * @property {string} at the station
 * @property {number | null} step
 * @property {string} words
 */

/** @type {Stop[]} */
const STOPS = [
  {
    at: "picture",
    step: null,
    words:
      "This picture did not exist anywhere. A small Stable Diffusion painted it from one sentence and one number, the seed. It has all parts that the large ones have, and you will see every number on the way. The map above is the whole machine.",
  },
  {
    at: "words",
    step: null,
    words:
      "It begins with your sentence. A computer needs numbers, so the sentence is cut into pieces, and each piece has its number in a list. A word that the list lacks is cut into smaller pieces: nothing is refused.",
  },
  {
    at: "vectors",
    step: null,
    words:
      "A network, the text encoder, reads the pieces from left to right, and writes one row of numbers for each. A row says what the piece means behind the words before it. From here on the words are gone; only these rows go on.",
  },
  {
    at: "noise",
    step: 0,
    words:
      "The picture itself begins as pure noise: 1,024 random numbers. The seed decides which. Same seed, same noise, and so the same picture. Look at the six small pictures: the same words, six seeds.",
  },
  {
    at: "levels",
    step: 0,
    words:
      "The noise is taken away in stairs. σ says how strong it is at each of them. The first stairs are high, the last ones low. While the noise is strong, only the rough layout can be guessed; fine things come out late.",
  },
  {
    at: "unet",
    step: 5,
    words:
      "Here is the heart. The UNet gets noisy numbers, the time, and the rows of a text. It gives a guess: which part of these numbers is noise? It has learned this from pictures to which somebody had added noise. That is all it can do.",
  },
  {
    at: "attention",
    step: 5,
    words:
      "How do words steer it? Inside, each square of the picture asks the text: which of you is about me? Choose a word and see where it is heard.",
  },
  {
    at: "guidance",
    step: 5,
    words:
      "The UNet guesses twice, without words and with yours. The two nearly agree. Guidance takes the small difference and makes it larger. Too little, and your words hardly count. Too much, and the picture burns: look at 8.",
  },
  {
    at: "step",
    step: 2,
    words:
      "Take away the guessed noise, and a picture shows. It is only a guess, so the machine goes a part of the way and asks again. Move through the steps: the blue curve says how early the layout stands. Details come last.",
  },
  {
    at: "picture",
    step: null,
    words:
      "After the last step the decoder makes eight by eight pixels of every square. That is all: words to rows, noise to numbers, twenty guesses, one decoder. Now change the sentence, or the seed, or break something on purpose.",
  },
];

/**
 * @param {App} app
 * @param {HTMLElement} place
 * @param {HTMLElement} opener the button that starts it
 */
export function buildTour(app, place, opener) {
  const count = h("p", { class: "count" });
  const words = h("p", { class: "story", tabindex: -1 });
  const back = h(
    "button",
    { type: "button", class: "quiet", onclick: () => goTo((app.settings.tour ?? 1) - 1) },
    "Back",
  );
  const next = h("button", { type: "button", onclick: () => goTo((app.settings.tour ?? 0) + 1) }, "Next");
  const end = h("button", { type: "button", class: "quiet", onclick: leave }, "End the tour");
  put(place, count, words, h("p", { class: "buttons" }, back, next, end));
  opener.addEventListener("click", () => goTo(0));

  function leave() {
    app.change({ tour: null });
    opener.focus();
  }

  /** @param {number} stop */
  function goTo(stop) {
    if (stop >= STOPS.length) return leave();
    const { at, step } = STOPS[Math.max(0, stop)];
    app.change({ tour: Math.max(0, stop), at, step });
    app.onDraw(); // at once: the focus goes to what is shown now
    words.focus({ preventScroll: true });
    place.parentElement?.scrollIntoView({ block: "nearest" });
  }

  function update() {
    const { tour } = app.settings;
    const stop = tour === null ? undefined : STOPS[Math.min(tour, STOPS.length - 1)];
    place.hidden = !stop;
    document.body.classList.toggle("touring", Boolean(stop));
    if (!stop) return;
    put(count, `Tour, stop ${STOPS.indexOf(stop) + 1} of ${STOPS.length}`);
    if (words.textContent !== stop.words) put(words, stop.words);
    back.disabled = stop === STOPS[0];
    put(next, stop === STOPS[STOPS.length - 1] ? "Finish" : "Next");
  }
  return update;
}
