/** Sums over rows of numbers, and numbers as words. */

/** @typedef {import("../types.js").Tensor} Tensor */
/** @typedef {ArrayLike<number>} Row */

/** @param {Row} row */
export function most(row) {
  let top = 0;
  for (let k = 0; k < row.length; k++) top = Math.max(top, Math.abs(row[k]) || 0);
  return top;
}

/** @param {Row} row */
export function mean(row) {
  let sum = 0;
  for (let k = 0; k < row.length; k++) sum += row[k];
  return sum / row.length;
}

/**
 * The standard deviation.
 * @param {Row} row
 */
export function std(row) {
  const middle = mean(row);
  let sum = 0;
  for (let k = 0; k < row.length; k++) sum += (row[k] - middle) ** 2;
  return Math.sqrt(sum / row.length);
}

/**
 * @param {Row} one
 * @param {Row} other
 */
export function dot(one, other) {
  let sum = 0;
  for (let k = 0; k < one.length; k++) sum += one[k] * other[k];
  return sum;
}

/** @param {Row} row */
export const norm = (row) => Math.sqrt(dot(row, row));

/**
 * The cosine of the angle between two rows.
 * @param {Row} one
 * @param {Row} other
 */
export const cosine = (one, other) => dot(one, other) / (norm(one) * norm(other) || 1);

/**
 * one + scale * (other - one), number by number: with scale 0 the one, with 1 the other.
 * @param {Row} one
 * @param {Row} other
 * @param {number} scale
 */
export const blend = (one, other, scale) => Float32Array.from(one, (value, k) => value + scale * (other[k] - value));

/**
 * Part `k` of a tensor's first dimension, a view on the same numbers.
 * @param {Tensor} tensor
 * @param {number} k
 * @returns {Tensor}
 */
export function part(tensor, k) {
  const [, ...shape] = tensor.shape;
  const size = shape.reduce((product, side) => product * side, 1);
  return { shape, data: tensor.data.subarray(k * size, (k + 1) * size) };
}

/**
 * A number as the page writes it: two digits behind the point, fewer where it is large.
 * @param {number} value
 */
export function told(value) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "not a number" : "infinite";
  return value.toFixed(Math.abs(value) >= 100 ? 0 : 2).replace("-", "−");
}

/** @param {number} count */
export const grouped = (count) => count.toLocaleString("en");

/** @param {number[]} shape */
export const by = (shape) => shape.join(" × ");

/** @param {number} share */
export const percent = (share) => `${Math.round(100 * share)} %`;
