/** Vectors: what the text encoder makes of the pieces, and how like those of a second prompt are. */

import { line } from "../controls.js";
import { h, put } from "../dom.js";
import { cosine, part } from "../numbers.js";
import { canvas, drawRows } from "../squares.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../../types.js").Tensor} Tensor */
/** @typedef {import("../../types.js").Tokens} Tokens */

const LIMIT = 2.5; // where the colours end: the encoder's last layer norm gives numbers of standard deviation about 1

export const id = "vectors";
export const name = "Vectors";
export const title = "Each piece becomes a list of numbers";
export const lede =
  "The text encoder turns every place into a vector. Each one also knows the words before it, never those behind it. These vectors are all that the painter will ever learn of your prompt.";

/** @param {App} app */
export function build(app) {
  const table = h("table", { class: "vectors" });
  const caption = h("figcaption");
  const other = line(app, "compare", "Compare with a second prompt", "a photograph of an astronaut riding a duck");
  const remark = h("p", { class: "remark", role: "status" });
  const controls = h("div", {}, other.element, remark);
  let asked = "";
  /** @type {{text: string, tokens: Tokens, vectors: Tensor} | null} */
  let second = null;

  async function fetchSecond() {
    const text = app.settings.compare;
    if (asked === text) return;
    asked = text;
    try {
      const [tokens, vectors] = [await app.machine.tokenize(text), await app.machine.embed([text])];
      if (asked === text) second = { text, tokens, vectors: part(vectors, 0) };
      app.refresh();
    } catch (error) {
      asked = "";
      app.say(String(error instanceof Error ? error.message : error));
    }
  }

  function update() {
    const { tokens, text_embeddings: embeddings } = app.run;
    const vectors = part(embeddings, 1);
    other.update();
    const comparing = app.settings.compare && app.ready;
    if (comparing && second?.text !== app.settings.compare) void fetchSecond();
    const present = comparing && second?.text === app.settings.compare ? second : null;
    const fits = present && present.vectors.shape[1] === vectors.shape[1] ? present : null;
    put(remark, compared(app, fits, vectors));
    drawTable(table, tokens, vectors, fits);
    put(
      caption,
      `${vectors.shape[0]} vectors of ${vectors.shape[1]} numbers. Orange is above 0, violet below, white is 0. The padding has vectors, too.`,
    );
  }
  return {
    drawing: h(
      "figure",
      {},
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "vectors by place" }, table),
      caption,
    ),
    controls,
    update,
  };
}

/**
 * @param {HTMLTableElement} table
 * @param {Tokens} tokens
 * @param {Tensor} vectors (77, dim)
 * @param {{tokens: Tokens, vectors: Tensor} | null} second
 */
function drawTable(table, tokens, vectors, second) {
  const shown = Math.min(tokens.count + 2, vectors.shape[0]);
  const rows = Array.from({ length: shown }, (_, k) => {
    const label = pieceAt(tokens, k, shown);
    const strip = canvas("squares strip");
    drawRows(strip, { shape: [1, vectors.shape[1]], data: part(vectors, k).data }, `vector of ${label}`, LIMIT);
    const like = second && cosine(part(vectors, k).data, part(second.vectors, k).data);
    const theirs = second && pieceAt(second.tokens, k, second.tokens.count + 2);
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, label),
      h("td", {}, strip),
      like !== null &&
        h("td", { class: "like" }, h("b", {}, like.toFixed(2).replace("-", "−")), h("span", {}, ` ${theirs}`)),
    );
  });
  const rest = vectors.shape[0] - shown;
  if (rest > 0) {
    const strip = canvas("squares strip padding");
    const data = vectors.data.subarray(shown * vectors.shape[1]);
    drawRows(strip, { shape: [rest, vectors.shape[1]], data }, `the ${rest} vectors of the padding`, LIMIT);
    rows.push(h("tr", {}, h("th", { scope: "row" }, `padding × ${rest}`), h("td", {}, strip), second && h("td", {})));
  }
  const head =
    second &&
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, "place"),
        h("th", { scope: "col" }, "vector"),
        h("th", { scope: "col" }, "how like"),
      ),
    );
  put(table, head, h("tbody", {}, ...rows));
}

/**
 * @param {Tokens} tokens
 * @param {number} k
 * @param {number} shown
 */
function pieceAt(tokens, k, shown) {
  if (k === 0) return "start";
  if (k === shown - 1) return "end";
  return k < shown ? tokens.pieces[k].replace("</w>", "") || String(tokens.ids[k]) : "padding";
}

/**
 * @param {App} app
 * @param {{text: string, vectors: Tensor, tokens: Tokens} | null} second
 * @param {Tensor} vectors
 */
function compared(app, second, vectors) {
  if (!app.settings.compare) return "";
  if (!app.ready) return "The second prompt is compared when the model has arrived.";
  if (!second)
    return app.run.source === "file" && vectors.shape[1] !== 128
      ? "Vectors of two different models cannot be compared."
      : "…";
  const end = (/** @type {Tokens} */ tokens, /** @type {Tensor} */ of) => part(of, Math.min(tokens.count + 1, 76)).data;
  const like = cosine(end(app.run.tokens, vectors), end(second.tokens, second.vectors));
  return `“How like” is the cosine of the angle between the two vectors at a place: 1 is the same direction. The two end tokens, which saw each prompt whole: ${like.toFixed(2)}.`;
}
