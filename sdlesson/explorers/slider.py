"""A slider that screen readers can name and a keyboard can move: ipywidgets' own has no accessible name."""

from __future__ import annotations

from collections.abc import Sequence

import anywidget
import traitlets

_IN_THE_BROWSER = """
function render({ model, el }) {
  const make = (kind) => document.createElement(kind);
  const label = make("label"), text = make("span"), range = make("input"), shown = make("span");
  const busy = make("span");
  el.className = "sdlesson-slider";
  range.dataset.lmSuppressShortcuts = "true"; // JupyterLab leaves the arrow keys to the slider
  Object.assign(range, { type: "range", min: 0, step: 1 });
  label.append(text, range);
  shown.ariaHidden = "true"; // the slider itself says it
  busy.role = "status";
  el.append(label, shown, busy);

  const draw = () => {
    const names = model.get("names"), index = model.get("index");
    text.textContent = model.get("label");
    range.max = names.length - 1;
    range.value = index;
    range.setAttribute("aria-valuetext", names[index]);
    shown.textContent = names[index];
  };
  const listen = () => { if (model.get("heard") === Number(range.value)) busy.textContent = ""; };
  const wait = () => { busy.textContent = "The kernel is busy; this comes when it is free."; listen(); };
  const go = (index) => { model.set("index", index); model.save_changes(); setTimeout(wait, 700); };
  range.addEventListener("input", () => go(Number(range.value)));
  model.on("change:index change:names", draw);
  model.on("change:heard", listen);
  draw();

  if (!model.get("plays")) return;
  const button = make("button");
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; button.textContent = "Play"; };
  const next = () => {
    const last = model.get("names").length - 1;
    if (model.get("index") >= last) stop(); else go(model.get("index") + 1);
  };
  button.addEventListener("click", () => {
    if (timer) return stop();
    if (model.get("index") === model.get("names").length - 1) go(0);
    timer = setInterval(next, 400);
    button.textContent = "Pause";
  });
  stop();
  el.append(button);
  return () => clearInterval(timer);
}
export default { render };
"""


_STYLE = """
.sdlesson-slider { display: inline-flex; align-items: center; gap: 8px; margin: 4px 20px 4px 2px; }
.sdlesson-slider label { display: inline-flex; align-items: center; gap: 8px; }
.sdlesson-slider input { width: 150px; }
.sdlesson-slider > span { min-width: 2.5em; }
.sdlesson-slider button { min-width: 5em; padding: 3px 8px; cursor: pointer; }
"""


class Slider(anywidget.AnyWidget):
    """A labelled slider over `values`, anything that can be listed; `value` is the chosen one.

    `names` tell the values (default: as Python prints them). With `plays` a button lets it run to its end.
    """

    _esm, _css = _IN_THE_BROWSER, _STYLE
    label = traitlets.Unicode().tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    index = traitlets.Int(0).tag(sync=True)
    heard = traitlets.Int(0).tag(sync=True)  # the last index that the kernel has taken in
    plays = traitlets.Bool(False).tag(sync=True)
    value = traitlets.Any()

    def __init__(self, label: str, values: Sequence, value=None, *, plays: bool = False):
        self.values = list(values)
        first = self.values[0] if value is None else value
        names, index = [_name(each) for each in self.values], self.values.index(first)
        super().__init__(label=label, names=names, index=index, heard=index, plays=plays, value=first)

    def choose_from(self, values: Sequence, value) -> None:
        """Take other values, and choose one of them."""
        self.values = list(values)
        with self.hold_trait_notifications():
            self.names, self.value = [_name(each) for each in values], value
            self.index = self.values.index(value)

    @traitlets.observe("index")
    def _choose(self, change):
        self.value, self.heard = self.values[change.new], change.new

    @traitlets.observe("value")
    def _find(self, change):
        self.index = self.values.index(change.new)

    @traitlets.validate("value")
    def _known(self, proposal):
        if proposal.value not in self.values:
            raise traitlets.TraitError(f"{proposal.value!r} is none of the slider's values.")
        return proposal.value


def _name(value) -> str:
    """A value in words: 3 for 3.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)
