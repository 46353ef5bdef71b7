/** The picture: latents decoded, its numbers, and a file to keep. */

import { breaker } from "../controls.js";
import { h, put } from "../dom.js";
import { by, grouped, std, told } from "../numbers.js";
import { writeHash } from "../settings.js";
import { canvas, drawChannels, drawPicture } from "../squares.js";

/** @typedef {import("../app.js").App} App */

export const id = "picture";
export const name = "Picture";
export const title = "The decoder turns latents into colours";
export const lede =
  "Latents are the language of the VAE, a pair of networks that learned to write pictures short and to read them back. Its decoder is used once, at the end: it makes 8 × 8 pixels of every square.";

/** @param {App} app */
export function build(app) {
  const squares = canvas("squares");
  const photo = canvas("photo large");
  const captions = [h("figcaption"), h("figcaption")];
  const save = h(
    "button",
    { type: "button", class: "quiet", onclick: () => download(photo, app) },
    "Download the picture (PNG)",
  );
  const share = h(
    "button",
    { type: "button", class: "quiet", onclick: () => void copyLink(app) },
    "Copy a link to this state",
  );
  const unscaled = breaker(
    app,
    "unscaled_decode",
    "forget the scaling factor.",
    "The decoder gets latents of another loudness than it was trained on.",
  );
  return {
    drawing: h("div", { class: "pair" }, h("figure", {}, squares, captions[0]), h("figure", {}, photo, captions[1])),
    controls: h("div", {}, h("p", { class: "buttons" }, save, share), unscaled.element),
    update() {
      unscaled.update();
      const { run } = app;
      const last = run.steps[run.steps.length - 1];
      save.disabled = !last;
      if (!last) return;
      const done = run.steps.length === run.total;
      const picture = app.finished(run);
      drawChannels(squares, last.latents, "The last latents");
      drawPicture(photo, picture, `${run.prompt}, seed ${run.seed || "unknown"}`);
      const { data } = last.latents;
      put(
        captions[0],
        `${grouped(data.length)} numbers, ${by(last.latents.shape.slice(1))}, standard deviation ${told(std(data))}. ${run.breaks.includes("unscaled_decode") ? "They were decoded without dividing them by" : "They are decoded when they have been divided by"} the scaling factor, ${told(run.scaling)}.`,
      );
      const where = done
        ? `${picture.width} × ${picture.height} pixels, ${grouped(3 * picture.width * picture.height)} values from 0 to 255`
        : app.busy
          ? `still on its way: step ${run.steps.length} of ${run.total}`
          : `stopped after ${run.steps.length} of ${run.total} steps`;
      const real = run.picture || app.decodes(run);
      put(
        captions[1],
        real ? where : "roughly coloured: the decoder that would paint it is not here",
        range(run),
        run.milliseconds ? `; painted here in ${(run.milliseconds / 1000).toFixed(1)} s` : "",
        ".",
      );
    },
  };
}

/** @param {import("../run.js").Run} run */
function range({ decoded }) {
  if (!decoded) return "";
  let [low, high, cut] = [Infinity, -Infinity, 0];
  for (const value of decoded.data) {
    low = Math.min(low, value);
    high = Math.max(high, value);
    cut += Math.abs(value) > 1 ? 1 : 0;
  }
  return `. The decoder gave ${told(low)} to ${told(high)}; black is −1, white 1, and ${((100 * cut) / decoded.data.length).toFixed(2)} % lay beyond and was cut off`;
}

/**
 * @param {HTMLCanvasElement} photo
 * @param {App} app
 */
function download(photo, app) {
  photo.toBlob((blob) => {
    if (!blob) return app.say("This browser could not write the picture.");
    const url = URL.createObjectURL(blob);
    h("a", { href: url, download: `sdlesson-seed-${app.run.seed || "unknown"}.png` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000); // by then the browser has taken it
  }, "image/png");
}

/** @param {App} app */
async function copyLink(app) {
  try {
    await navigator.clipboard.writeText(new URL(`#${writeHash(app.settings)}`, location.href).href);
    app.say("The link is copied. Whoever opens it sees this state; no server reads what stands behind its #.");
  } catch {
    app.say("This browser does not let the page copy; the link stands in the address bar.");
  }
}
