/** The machine, for the page: asks the worker, and gives promises and a run's events. Nothing is computed here. */

import { LiveError } from "./errors.js";

/**
 * A machine that is not loaded yet. Its worker starts with `load`, and again after `close`.
 * @returns {import("../types.js").Machine}
 */
export function openMachine() {
  /** @type {Worker | undefined} */
  let worker;
  let last = 0;
  let running = 0; // the newest run's id
  /** @type {Map<number, (reply: import("../types.js").Reply) => void>} */
  const waiting = new Map();

  /** @param {string} message */
  function fail(message) {
    worker?.terminate();
    worker = undefined;
    for (const [id, answer] of [...waiting]) answer({ id, tell: "error", message });
    machine.onFail(message);
  }

  function start() {
    worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => (data.fatal ? fail(data.message) : waiting.get(data.id)?.(data));
    worker.onerror = (event) => {
      event.preventDefault();
      fail("The model's program could not be started; reload the page, or try a newer browser.");
    };
  }

  /**
   * @param {Record<string, unknown>} what a Request without its id
   * @param {(reply: import("../types.js").Reply) => void} answer
   * @returns its id
   */
  function ask(what, answer) {
    const id = ++last;
    waiting.set(id, (reply) => {
      if (reply.tell === "done" || reply.tell === "error") waiting.delete(id);
      answer(reply);
    });
    if (worker) worker.postMessage({ id, ...what });
    else waiting.get(id)?.({ id, tell: "error", message: "The model is not there yet; load it first." });
    return id;
  }

  /**
   * @param {Record<string, unknown>} what
   * @param {(progress: import("../types.js").Progress) => void} [onProgress]
   * @returns {Promise<any>}
   */
  function promise(what, onProgress) {
    return new Promise((resolve, reject) => {
      ask(what, (reply) => {
        if (reply.tell === "progress") onProgress?.(reply.progress);
        else if (reply.tell === "done") resolve(reply.value);
        else if (reply.tell === "error") reject(new LiveError(reply.message));
      });
    });
  }

  const stop = (/** @type {number} */ run) => void worker?.postMessage({ id: 0, ask: "stop", run });

  /** @param {import("../types.js").PaintOptions} options */
  async function* paint(options) {
    /** @type {import("../types.js").Reply[]} */
    const arrived = [];
    let wake = () => {};
    let over = false;
    const run = ask({ ask: "paint", options }, (reply) => {
      arrived.push(reply);
      wake();
    });
    running = run;
    try {
      for (;;) {
        const reply = arrived.shift();
        if (!reply) await new Promise((resolve) => (wake = () => resolve(undefined)));
        else if (reply.tell === "event") yield reply.event;
        else {
          over = true;
          if (reply.tell === "error") throw new LiveError(reply.message);
          return;
        }
      }
    } finally {
      if (!over) stop(run);
    }
  }

  /** @type {import("../types.js").Machine} */
  const machine = {
    load: (onProgress) => {
      if (!worker) start();
      return promise({ ask: "load" }, onProgress);
    },
    tokenize: (text) => promise({ ask: "tokenize", text }),
    embed: (texts) => promise({ ask: "embed", texts }),
    decode: (latents) => promise({ ask: "decode", latents }),
    paint,
    stop: () => stop(running),
    close: () => fail("The model was stopped."),
    onFail: () => {},
  };
  return machine;
}
