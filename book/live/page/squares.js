/** Numbers as squares, pictures as pixels: one canvas each, one pixel a number; the style sheet makes them large. */

import { amount, around0 } from "./colours.js";
import { h } from "./dom.js";
import { most, part } from "./numbers.js";

/** @typedef {import("../types.js").Tensor} Tensor */
/** @typedef {import("../types.js").Picture} Picture */

/**
 * A canvas that is told to screen readers as a picture.
 * @param {string} kind class for the style sheet: "squares" stay sharp
 */
export const canvas = (kind = "squares") => h("canvas", { class: kind, role: "img", width: 1, height: 1 });

/**
 * @param {HTMLCanvasElement} on
 * @param {number} width
 * @param {number} height
 * @param {(put: (x: number, y: number, colour: number[]) => void) => void} draw
 */
function pixels(on, width, height, draw) {
  const image = new ImageData(width, height);
  draw((x, y, [red, green, blue, solid = 255]) => image.data.set([red, green, blue, solid], 4 * (y * width + x)));
  on.width = width;
  on.height = height;
  on.getContext("2d")?.putImageData(image, 0, 0);
}

/**
 * The channels of latents (channels, rows, columns), or (1, channels, rows, columns), in rows of `across`, a gap between.
 * @param {HTMLCanvasElement} on
 * @param {Tensor} tensor
 * @param {string} words what it is: the text alternative begins with it
 * @param {number} [across]
 */
export function drawChannels(on, tensor, words, across = 2) {
  const maps = tensor.shape.length === 4 ? part(tensor, 0) : tensor;
  const [count, rows, columns] = maps.shape;
  const wide = Math.min(across, count);
  const limit = most(maps.data);
  const width = wide * (columns + 1) - 1;
  pixels(on, width, Math.ceil(count / wide) * (rows + 1) - 1, (put) => {
    maps.data.forEach((value, k) => {
      const [channel, place] = [Math.floor(k / (rows * columns)), k % (rows * columns)];
      const x = (channel % wide) * (columns + 1) + (place % columns);
      const y = Math.floor(channel / wide) * (rows + 1) + Math.floor(place / columns);
      put(x, y, around0(value, limit));
    });
  });
  on.setAttribute(
    "aria-label",
    `${words}: ${count} channels of ${rows} by ${columns} numbers, up to ±${limit.toFixed(2)}`,
  );
}

/**
 * Rows of numbers around 0 as lines of squares.
 * @param {HTMLCanvasElement} on
 * @param {Tensor} tensor (rows, columns)
 * @param {string} words
 * @param {number} limit where the colours end
 */
export function drawRows(on, tensor, words, limit) {
  const [rows, columns] = tensor.shape;
  pixels(on, columns, rows, (put) => {
    tensor.data.forEach((value, k) => put(k % columns, Math.floor(k / columns), around0(value, limit)));
  });
  on.setAttribute("aria-label", words);
}

/**
 * Amounts as squares.
 * @param {HTMLCanvasElement} on
 * @param {Tensor} tensor (rows, columns)
 * @param {string} words
 * @param {number} [solid] 0 ... 255: how little of what lies below shines through
 */
export function drawAmounts(on, tensor, words, solid = 255) {
  const [rows, columns] = tensor.shape;
  const limit = most(tensor.data);
  pixels(on, columns, rows, (put) => {
    tensor.data.forEach((value, k) => put(k % columns, Math.floor(k / columns), [...amount(value, limit), solid]));
  });
  on.setAttribute("aria-label", words);
}

/**
 * @param {HTMLCanvasElement} on
 * @param {Picture} picture
 * @param {string} [words] none where what is around it has them
 */
export function drawPicture(on, picture, words) {
  on.width = picture.width;
  on.height = picture.height;
  on.getContext("2d")?.putImageData(new ImageData(picture.data, picture.width), 0, 0);
  if (words) on.setAttribute("aria-label", words);
}

/**
 * Latents as a small picture by a linear map, one pixel a square: no decoder.
 * @param {Tensor} latents (1, 4, rows, columns)
 * @param {number[][]} matrix (4 or 5, 3): a row for each channel, the last one constant
 * @returns {Picture}
 */
export function linearPicture(latents, matrix) {
  const [, channels, height, width] = latents.shape;
  const data = new Uint8ClampedArray(4 * height * width);
  for (let k = 0; k < height * width; k++) {
    const colour = [0, 1, 2].map((c) => {
      let value = matrix[channels]?.[c] ?? 0;
      for (let j = 0; j < channels; j++) value += matrix[j][c] * latents.data[j * height * width + k];
      return 127.5 * (value + 1);
    });
    data.set([...colour, 255], 4 * k);
  }
  return { width, height, data };
}
