/** A decoded picture as bytes. */

/** @typedef {import("../types.js").Tensor} Tensor */

/**
 * (1, 3, height, width), -1 ... 1, as 0 ... 255; what lies outside is cut off, what is no number is black.
 * @param {Tensor} decoded
 * @returns {import("../types.js").Picture}
 */
export function to_picture({ shape: [, , height, width], data: values }) {
  const size = height * width;
  const data = new Uint8ClampedArray(4 * size).fill(255);
  for (let k = 0; k < size; k++) {
    for (let channel = 0; channel < 3; channel++) data[4 * k + channel] = (values[channel * size + k] / 2 + 0.5) * 255;
  }
  return { width, height, data };
}
