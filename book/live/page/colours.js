/** One meaning, one colour map, the same two as in the lessons' figures. */

/** Matplotlib's PuOr_r at eleven even places: violet is below 0, white is 0, orange above. */
const DIVERGING = "2d004b5326878073acb1aad1d8daebf7f7f6fee0b6fcb761e08214b257067f3b08";
/** Matplotlib's viridis at seventeen even places: amounts, dark is little. */
const AMOUNTS =
  "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725";

/**
 * 256 colours, three bytes each, straight lines between the places.
 * @param {string} places six digits each
 */
function table(places) {
  const stops = places.match(/../g)?.map((byte) => parseInt(byte, 16)) ?? [];
  const last = stops.length / 3 - 1;
  return Uint8ClampedArray.from({ length: 768 }, (_, k) => {
    const at = (Math.floor(k / 3) / 255) * last;
    const left = Math.min(Math.floor(at), last - 1);
    const from = stops[3 * left + (k % 3)];
    return from + (at - left) * (stops[3 * left + 3 + (k % 3)] - from);
  });
}

const diverging = table(DIVERGING);
const amounts = table(AMOUNTS);

/**
 * @param {Uint8ClampedArray} colours
 * @param {number} share 0 ... 1; what is no number is grey
 * @returns {[number, number, number]}
 */
function pick(colours, share) {
  if (Number.isNaN(share)) return [128, 128, 128];
  const at = 3 * Math.round(255 * Math.min(1, Math.max(0, share)));
  return [colours[at], colours[at + 1], colours[at + 2]];
}

/**
 * The colour of a number around 0; colours end at ±limit.
 * @param {number} value
 * @param {number} limit
 */
export const around0 = (value, limit) => pick(diverging, 0.5 + value / (2 * limit || 1));

/**
 * The colour of an amount, 0 ... limit.
 * @param {number} value
 * @param {number} limit
 */
export const amount = (value, limit) => pick(amounts, value / (limit || 1));
