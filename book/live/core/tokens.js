/** Prompt -> token ids, by the bundled tokenizer.json. */

import { Tokenizer } from "../vendor/tokenizers.js";
import { LiveError } from "./errors.js";

/** @typedef {import("../types.js").Tokens} Tokens */

const LENGTH = 77; // tokens that CLIP's text encoder reads, start and end among them
const WORD_END = "</w>";
const SPECIAL = /^<\|(start|end)oftext\|>$/; // a visitor may type these, too
const MOST = 200_000; // letters: more than anyone types, and read in about a second

/**
 * What the world's words are told by: letters, marks, numbers and signs; punctuation does not count.
 * @param {string} text
 */
const spoken = (text) => text.toLowerCase().replace(/[^\p{L}\p{M}\p{N}\p{S}]/gu, "");

export class Tokens77 {
  /**
   * @param {object} rules tokenizer.json
   * @param {object} config tokenizer_config.json
   * @param {Iterable<string>} vocabulary words that the model read in training
   */
  constructor(rules, config, vocabulary) {
    this.tokenizer = new Tokenizer(rules, config);
    this.vocabulary = new Set(vocabulary);
  }

  /**
   * Throws LiveError for a text that is far too long, or holds half a character.
   * @param {string} text
   * @returns {Tokens}
   */
  read(text) {
    if (text.length > MOST) throw new LiveError(`A prompt has at most ${MOST} letters.`);
    if (/\p{Surrogate}/u.test(text)) throw new LiveError("The prompt is not valid text: it holds half a character.");
    // JavaScript writes a capital sigma small in another way at a word's end; the tokenizer's own library does not.
    const all = this.tokenizer.encode(text.replaceAll("Σ", "σ"));
    const [start, end] = [0, all.ids.length - 1];
    const kept = all.ids.slice(start + 1, end).slice(0, LENGTH - 2);
    const row = [all.ids[start], ...kept];
    const ids = [...row, ...Array(LENGTH - row.length).fill(all.ids[end])];
    const names = all.tokens.slice(0, row.length);
    return {
      ids,
      pieces: [...names, ...Array(LENGTH - row.length).fill(all.tokens[end])],
      count: kept.length,
      cut: end - 1 - kept.length,
      words: this.words(kept, names.slice(1)),
    };
  }

  /**
   * @param {number[]} ids of pieces
   * @param {string[]} names
   */
  words(ids, names) {
    /** @type {Tokens["words"]} */
    const words = [];
    /** @type {number[]} */
    let positions = [];
    names.forEach((name, k) => {
      positions.push(k + 1); // position 0 is the start
      if (!name.endsWith(WORD_END) && !SPECIAL.test(name) && k < names.length - 1) return;
      const word = this.tokenizer.decode(positions.map((place) => ids[place - 1]), { skip_special_tokens: false }).trim();
      const said = spoken(word);
      words.push({ word, positions, known: !said || this.vocabulary.has(said) });
      positions = [];
    });
    return words;
  }
}
