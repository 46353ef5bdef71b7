/** The page: puts its parts together, reads the address, and keeps both in step. */

import { openMachine } from "../core/client.js";
import { App } from "./app.js";
import { h, known, put } from "./dom.js";
import { loadExample } from "./example.js";
import { buildFilm } from "./film.js";
import { startLive } from "./live.js";
import { buildMap } from "./map.js";
import { DEFAULTS, readable, readHash, samePicture, writeHash } from "./settings.js";
import * as attention from "./stations/attention.js";
import * as guidance from "./stations/guidance.js";
import * as levels from "./stations/levels.js";
import * as noise from "./stations/noise.js";
import * as picture from "./stations/picture.js";
import * as step from "./stations/step.js";
import * as unet from "./stations/unet.js";
import * as vectors from "./stations/vectors.js";
import * as words from "./stations/words.js";
import { buildTour } from "./tour.js";
import { readTrace } from "./trace.js";

const STATIONS = [words, vectors, noise, levels, unet, attention, guidance, step, picture];
const SAVING = 400; // milliseconds: browsers allow a page some hundred new addresses in half a minute

/** @param {string} sentence */
function say(sentence) {
  put(known("said"), sentence);
}

/** @param {unknown} error */
const complain = (error) => say(error instanceof Error ? error.message : String(error));

/**
 * One station at a time: its controls are built once, when it is opened, so that they keep the keyboard's focus.
 * @param {App} app
 */
function buildStage(app) {
  const stage = known("stage");
  let at = "";
  let update = () => {};
  return function show() {
    const station = STATIONS.find((each) => each.id === app.settings.at) ?? words;
    if (at !== station.id) {
      const built = station.build(app);
      const number = STATIONS.indexOf(station) + 1;
      const told = h(
        "div",
        { class: "told" },
        h("p", { class: "number" }, `${number} · ${station.name}`),
        h("h2", { id: "title" }, station.title),
        h("p", { class: "lede" }, station.lede),
        known("tour"),
        h("div", { class: "controls" }, built.controls),
      );
      put(stage, told, h("div", { class: "drawing" }, built.drawing));
      stage.dataset.at = at = station.id;
      update = built.update;
    }
    update();
  };
}

/** @param {App} app */
function buildPrompt(app) {
  const form = /** @type {HTMLFormElement} */ (known("ask"));
  const input = /** @type {HTMLTextAreaElement} */ (known("prompt")); // it grows with the sentence, and has no lines
  const [go, halt] = /** @type {HTMLButtonElement[]} */ ([known("paint"), known("stop")]);
  const live = startLive(app, known("arrival"));
  const typed = () => input.value.replace(/\s+/g, " ").trim();
  input.addEventListener("input", async () => {
    const prompt = typed();
    if (!app.ready) return;
    try {
      const tokens = await app.machine.tokenize(readable(prompt));
      if (prompt !== typed()) return; // more was typed meanwhile
      app.draft = { prompt, tokens };
      app.refresh();
    } catch (error) {
      complain(error);
    }
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    say("");
    app.change({ prompt: typed() });
    live.paint();
  });
  halt.addEventListener("click", live.stop);
  go.disabled = false;
  let shown = input.value === input.defaultValue ? input.value : app.settings.prompt;
  return function update() {
    const { prompt } = app.shown;
    if (prompt !== shown) {
      input.value = shown = prompt; // what is being typed stays, until another prompt counts
      app.draft = null;
    }
    halt.hidden = !app.busy;
    go.hidden = app.busy;
  };
}

/** @param {App} app */
function buildFiles(app) {
  const input = /** @type {HTMLInputElement} */ (known("file"));
  const bar = known("file-bar");
  known("open").addEventListener("click", () => input.click());
  input.addEventListener("change", () => void open(input.files?.[0]));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    void open(event.dataTransfer?.files[0]);
  });

  /** @param {File | undefined} file */
  async function open(file) {
    input.value = "";
    if (!file) return;
    try {
      const runs = await readTrace(file, app.example.colours);
      app.change({ step: null, at: "step" });
      app.onLeave();
      app.show(runs[0]);
      const leave = h("button", { type: "button", class: "quiet", onclick: close }, "Close the file");
      const pick = h(
        "select",
        { "aria-label": "picture of the batch", onchange: () => app.show(runs[pick.selectedIndex]) },
        ...runs.map((_, k) => h("option", {}, `picture ${k + 1}`)),
      );
      const told = `${file.name.slice(0, 60)}: “${runs[0].prompt.slice(0, 120)}”, model ${runs[0].model}, ${runs[0].total} steps. It is read here and sent nowhere.`;
      put(bar, h("p", {}, told), runs.length > 1 && pick, leave);
      say(`Opened ${file.name.slice(0, 60)}.`);
    } catch (error) {
      complain(error);
    }
  }
  function close() {
    app.show(app.example.run);
    if (!samePicture(app.settings, DEFAULTS)) app.onAsk();
  }
  return () => void (bar.hidden = app.run.source !== "file");
}

async function start() {
  const { settings, said } = readHash(location.hash);
  const example = await loadExample();
  const app = new App(settings, example, openMachine(), say);
  const updates = [
    buildPrompt(app),
    buildFiles(app),
    buildMap(app, known("map"), STATIONS),
    buildFilm(app, known("film")),
    buildTour(app, known("tour"), known("start-tour")),
    buildStage(app),
  ];
  let saving = 0;
  app.onDraw = () => {
    updates.forEach((update) => update());
    document.body.dataset.source = app.run.source;
    saving ||= window.setTimeout(() => {
      saving = 0;
      history.replaceState(null, "", `#${writeHash(app.settings)}`);
    }, SAVING);
  };
  addEventListener("hashchange", ({ newURL }) => {
    const read = readHash(new URL(newURL).hash); // by now the page may have written another one
    app.change(read.settings);
    say(read.said.join(" "));
  });
  app.onDraw();
  document.body.classList.add("here");
  if (said.length) say(said.join(" "));
}

start().catch(complain);
