/** The model's files: fetched from the page's own folder, unpacked, checked, and counted on their way. */

import { LiveError } from "./errors.js";

/**
 * A file as the manifest names it. All are packed by gzip, whose checksum tells whether they came whole.
 * @typedef {object} Entry
 * @property {string} path its name in the folder, which changes with its content
 * @property {number} bytes packed
 */

const AGAIN = "check the connection, and try again";

export class Files {
  /** @param {URL} folder with manifest.json */
  constructor(folder) {
    this.folder = folder;
    /** @type {Record<string, Entry>} */
    this.entries = {};
    /** @type {Map<string, Promise<ArrayBuffer>>} those that came, or are on their way */
    this.here = new Map();
    /** @type {Map<string, number>} bytes that came of each */
    this.loaded = new Map();
    /** @type {Set<string>} those that did not come whole */
    this.lost = new Set();
    this.onProgress = () => {};
    this.failed = false; // then what the browser kept is not trusted
  }

  /** Fetch the manifest, and start all files at once; gives what the manifest tells of the model. Throws LiveError. */
  async open() {
    const response = await this.fetch("manifest.json", "no-cache");
    const { files, info } = await response.json().catch(() => {
      throw new LiveError("The list of the model's files is damaged; the page's folder is not complete.");
    });
    this.entries = files;
    for (const name of this.lost) {
      this.failed = true;
      this.loaded.delete(name);
      this.here.delete(name);
    }
    this.lost.clear();
    for (const name of Object.keys(files)) {
      if (this.here.has(name)) continue;
      const file = this.unpack(name);
      file.catch(() => this.lost.add(name)); // why is told to whoever asks for it
      this.here.set(name, file);
    }
    return /** @type {import("../types.js").ModelInfo} */ (info);
  }

  /**
   * The bytes of a file. Throws LiveError; then the next `open` fetches all anew that did not come.
   * @param {string} name
   */
  take(name) {
    return /** @type {Promise<ArrayBuffer>} */ (this.here.get(name));
  }

  /** @returns {{loaded: number, total: number}} bytes */
  get progress() {
    const sum = (/** @type {Iterable<number>} */ numbers) => [...numbers].reduce((total, each) => total + each, 0);
    return { loaded: sum(this.loaded.values()), total: sum(Object.values(this.entries).map((entry) => entry.bytes)) };
  }

  /** @param {string} name */
  async unpack(name) {
    const { path, bytes } = this.entries[name];
    const response = await this.fetch(path, this.failed ? "reload" : "default");
    let came = 0;
    const count = new TransformStream({
      transform: (chunk, next) => {
        came += chunk.byteLength;
        this.loaded.set(name, came);
        this.onProgress();
        next.enqueue(chunk);
      },
    });
    const stream = /** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */ (response.body);
    const unpacked = stream.pipeThrough(count).pipeThrough(new DecompressionStream("gzip"));
    try {
      return await new Response(unpacked).arrayBuffer();
    } catch {
      const part = came < bytes ? `only ${came} of its ${bytes} bytes came` : "it is damaged";
      throw new LiveError(`The model's file ${name} did not come whole (${part}); ${AGAIN}.`);
    }
  }

  /**
   * @param {string} path
   * @param {RequestCache} cache
   */
  async fetch(path, cache) {
    let response;
    try {
      response = await fetch(new URL(path, this.folder), { cache });
    } catch {
      throw new LiveError(`The model's file ${path} cannot be reached; ${AGAIN}.`);
    }
    if (!response.ok) throw new LiveError(`The model's file ${path} is not there (${response.status}); ${AGAIN}.`);
    return response;
  }
}

/**
 * A file of weights as float32: a byte that says how many planes follow, the lowest bytes of all numbers first. Two
 * hold float16, three the upper 24 bits of float32.
 * @param {ArrayBuffer} file
 */
export function widened(file) {
  const planes = new Uint8Array(file, 1);
  const count = planes.length / new Uint8Array(file)[0];
  const numbers = new Float32Array(count);
  if (planes.length === 3 * count) {
    const words = new Uint32Array(numbers.buffer);
    for (let i = 0; i < count; i++)
      words[i] = (planes[i] << 8) | (planes[count + i] << 16) | (planes[2 * count + i] << 24);
    return numbers;
  }
  const table = Float32Array.from({ length: 65536 }, (_, half) => half_to_number(half));
  for (let i = 0; i < count; i++) numbers[i] = table[planes[i] | (planes[count + i] << 8)];
  return numbers;
}

/**
 * The number that 16 bits stand for (IEEE 754): sign, 5 bits of exponent, 10 of fraction.
 * @param {number} half
 */
function half_to_number(half) {
  const [sign, exponent, fraction] = [half & 0x8000 ? -1 : 1, (half >> 10) & 31, half & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : (fraction / 1024) * 2 ** -14);
}
