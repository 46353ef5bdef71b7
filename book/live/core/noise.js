/** The noise that a picture begins with: the same numbers as torch's generator on the CPU draws for the same seed. */

import { LiveError } from "./errors.js";

/** @typedef {import("../types.js").Tensor} Tensor */

const MOST_SEED = 2n ** 64n - 1n;

/**
 * A seed as torch.Generator.manual_seed takes it, 0 ... 2^64 - 1; throws LiveError for anything else.
 * @param {bigint | number | string} seed
 */
export function as_seed(seed) {
  const text = typeof seed === "string" ? seed.trim() : seed;
  const whole = typeof text === "string" ? /^[0-9]{1,20}$/.test(text) : typeof text === "bigint" || Number.isSafeInteger(text);
  const value = whole ? BigInt(text) : -1n;
  if (value < 0n || value > MOST_SEED) throw new LiveError("A seed is a whole number from 0 to 18446744073709551615.");
  return value;
}

/** The Mersenne Twister, MT19937 (Matsumoto and Nishimura 1998). Of the seed it takes the lower 32 bits, as torch does. */
export class MersenneTwister {
  /** @param {bigint} seed */
  constructor(seed) {
    this.state = new Uint32Array(624);
    this.state[0] = Number(BigInt.asUintN(32, seed));
    for (let i = 1; i < 624; i++) {
      const before = this.state[i - 1];
      this.state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
    }
    this.next = 624; // all used up: the first word mixes the state
  }

  mix() {
    const { state } = this;
    for (let i = 0; i < 624; i++) {
      const word = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
      state[i] = state[(i + 397) % 624] ^ (word >>> 1) ^ (word & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }

  /** The next word, 32 bits. */
  random() {
    if (this.next === 624) this.mix();
    let word = this.state[this.next++];
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  /** A number in 0 ... 1, without 1, of the lower 24 bits: as many as a float32 holds. */
  uniform() {
    return (this.random() & 0xffffff) / 0x1000000;
  }
}

/**
 * Numbers with mean 0 and standard deviation 1, as torch.randn draws them where there are 16 or more (Box and Muller 1958):
 * of each 16 uniform ones the first eight make the radius, the others the angle.
 * @param {number} count 16 or more; throws LiveError for fewer, which torch draws in another way
 * @param {MersenneTwister} generator
 */
export function randn(count, generator) {
  if (!Number.isInteger(count) || count < 16) throw new LiveError("Noise is drawn for 16 numbers or more.");
  const uniform = Float64Array.from({ length: count }, () => generator.uniform());
  const values = new Float32Array(count);
  for (let start = 0; start + 16 <= count; start += 16) box_muller(uniform.subarray(start), values.subarray(start));
  if (count % 16) {
    const last = Float64Array.from({ length: 16 }, () => generator.uniform()); // the last 16 are drawn anew
    box_muller(last, values.subarray(count - 16));
  }
  return values;
}

const single = Math.fround; // torch computes in float32: in float64 the last digits would be others

/**
 * @param {Float64Array} uniform
 * @param {Float32Array} values
 */
function box_muller(uniform, values) {
  for (let i = 0; i < 8; i++) {
    const radius = single(Math.sqrt(-2 * single(Math.log(1 - uniform[i])))); // 1 - u is never 0
    const angle = single(single(2 * Math.PI) * uniform[i + 8]);
    values[i] = radius * Math.cos(angle);
    values[i + 8] = radius * Math.sin(angle);
  }
}

/**
 * The noise of a seed, standard deviation 1.
 * @param {number[]} shape
 * @param {bigint | number | string} seed
 * @returns {Tensor}
 */
export function initial_noise(shape, seed) {
  const count = shape.reduce((product, side) => product * side, 1);
  return { shape, data: randn(count, new MersenneTwister(as_seed(seed))) };
}
