/** safetensors files: a checked header, then numbers. Nothing is trusted: a file may come from anywhere. */

import { LiveError } from "../core/errors.js";

/** @typedef {import("../types.js").Tensor} Tensor */

const HEADER = 1 << 20; // bytes: a trace's header has some 2,000
const NUMBERS = 1 << 27; // in one tensor: 50 steps of eight pictures of v1.4 have 6.6 million
/** @type {Record<string, number>} */
const BYTES = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, U8: 1 };

/**
 * @typedef {object} Place
 * @property {string} dtype
 * @property {number[]} shape
 * @property {[number, number]} data_offsets
 */

/**
 * What a file holds, by its header alone.
 * @typedef {object} Holding
 * @property {Map<string, Place>} places
 * @property {Record<string, string>} metadata
 * @property {(name: string) => Promise<Tensor>} tensor
 * @property {(name: string) => Promise<ArrayBuffer>} bytes
 */

/**
 * Read and check the header of a file; numbers are read when they are asked for.
 * @param {Blob} file
 * @returns {Promise<Holding>}
 */
export async function openSafetensors(file) {
  if (file.size < 8) throw new LiveError("This file is too short to be a recorded run.");
  const length = Number(new DataView(await file.slice(0, 8).arrayBuffer()).getBigUint64(0, true));
  if (length > HEADER || length < 2)
    throw new LiveError("This is no recorded run: a safetensors file begins with the length of its header, and this one does not.");
  if (8 + length > file.size) throw new LiveError("This file ends in the middle of its header; it was cut off.");
  const { __metadata__: metadata = {}, ...listed } = parse(await file.slice(8, 8 + length).text());
  const places = new Map(
    Object.entries(listed).map(([name, place]) => [name, checked(name, place, file.size - 8 - length)]),
  );
  const bytes = (/** @type {string} */ name) => {
    const place = places.get(name);
    if (!place) throw new LiveError(`This file lacks ${name}.`);
    const [start, end] = place.data_offsets;
    return file.slice(8 + length + start, 8 + length + end).arrayBuffer();
  };
  const tensor = async (/** @type {string} */ name) => {
    const buffer = await bytes(name); // first: it says what is missing
    const { dtype, shape } = /** @type {Place} */ (places.get(name));
    return { shape, data: asFloat32(buffer, dtype) };
  };
  return { places, metadata, bytes, tensor };
}

/**
 * @param {string} text
 * @returns {Record<string, any>}
 */
function parse(text) {
  try {
    const header = JSON.parse(text);
    if (header && typeof header === "object" && !Array.isArray(header)) return header;
  } catch {
    // said below
  }
  throw new LiveError("This is no safetensors file: its header cannot be read.");
}

/**
 * @param {string} name
 * @param {any} place
 * @param {number} room bytes behind the header
 * @returns {Place}
 */
function checked(name, place, room) {
  const short = name.slice(0, 40);
  const { dtype, shape, data_offsets: offsets } = place ?? {};
  if (!Object.hasOwn(BYTES, dtype))
    throw new LiveError(`“${short}” in this file has numbers of a kind that this page does not read.`);
  const whole = (/** @type {unknown} */ each) => Number.isSafeInteger(each) && Number(each) >= 0;
  if (!Array.isArray(shape) || shape.length > 8 || !shape.every(whole))
    throw new LiveError(`“${short}” in this file has no sensible shape.`);
  const size = shape.reduce((product, side) => product * side, 1);
  if (size > NUMBERS)
    throw new LiveError(`“${short}” in this file claims to have more numbers than this page can hold.`);
  const fits = Array.isArray(offsets) && offsets.length === 2 && offsets.every(whole);
  if (!fits || offsets[1] > room || offsets[1] - offsets[0] !== size * BYTES[dtype]) {
    throw new LiveError(`“${short}” does not lie in this file as its header says; the file was cut off or changed.`);
  }
  return { dtype, shape, data_offsets: [offsets[0], offsets[1]] };
}

/**
 * @param {ArrayBuffer} buffer
 * @param {string} dtype
 * @returns {Float32Array}
 */
function asFloat32(buffer, dtype) {
  if (dtype === "F32") return new Float32Array(buffer);
  if (dtype === "F64") return Float32Array.from(new Float64Array(buffer));
  if (dtype === "I64") return Float32Array.from(new BigInt64Array(buffer), Number);
  if (dtype === "I32") return Float32Array.from(new Int32Array(buffer));
  if (dtype === "U8") return Float32Array.from(new Uint8Array(buffer));
  if (dtype === "F16") return Float32Array.from(new Uint16Array(buffer), half);
  const wide = new Uint32Array(buffer.byteLength / 2); // BF16: the upper half of a float32
  new Uint16Array(buffer).forEach((bits, k) => (wide[k] = bits << 16));
  return new Float32Array(wide.buffer);
}

/**
 * A number of IEEE 754's binary16: a sign, five bits of exponent, ten of fraction.
 * @param {number} bits
 */
function half(bits) {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
