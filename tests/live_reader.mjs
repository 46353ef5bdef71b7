/** What the live page reads out of an address or a recorded run, asked by tests/test_properties.py: JSON lines. */

import { createInterface } from "node:readline";
import { readHash, writeHash } from "../book/live/page/settings.js";
import { readTrace } from "../book/live/page/trace.js";

const COLOURS = [1, 2, 3, 4].map(() => [0, 0, 0]);

/** @type {Record<string, (given: any) => any>} */
const readers = {
  hash: (hash) => {
    const { settings, said } = readHash(hash);
    return { settings, said, again: readHash(`#${writeHash(settings)}`) };
  },
  trace: async (base64) => {
    const runs = await readTrace(new Blob([Buffer.from(base64, "base64")]), COLOURS);
    return runs.map((run) => ({
      prompt: run.prompt,
      guidance: run.guidance,
      latents: run.steps.map((step) => [...step.latents.data].map(String)),
    }));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [[name, given]] = Object.entries(JSON.parse(line));
  let answer;
  try {
    answer = { gives: await readers[name](given) };
  } catch (error) {
    answer = { kind: error.name, says: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
