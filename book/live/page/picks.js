/** Small recorded pictures, each of which sets what it was painted with. */

import { h } from "./dom.js";
import { drawPicture } from "./squares.js";

/** @param {{picture: import("../types.js").Picture, words: string, choose: () => void}[]} pictures */
export function pickRow(pictures) {
  const buttons = pictures.map(({ picture, words, choose }) => {
    const on = h("canvas", { class: "photo", "aria-hidden": "true" });
    drawPicture(on, picture);
    return h("button", { type: "button", class: "pick", onclick: choose }, on, words);
  });
  return h("div", { class: "row" }, ...buttons);
}
