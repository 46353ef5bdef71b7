"""The figures of the one page: they are made of the numbers they are given, and say in words what they show."""

from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from sdlesson import BadInput, lesson_number, onepage
from sdlesson.figures.base import figure_pictures, new_figure, plot_map, plot_matrix
from sdlesson.figures.onepage import figure_machine, figure_way
from sdlesson.figures.sigmas import plot_sigmas
from sdlesson.figures.strip import figure_strip
from sdlesson.figures.worded import WordedFigure


@pytest.fixture
def machine():
    """A model's configuration without the model: 40 latent squares, 6 channels, blocks of 4 pixels, 32 tokens of 24."""
    return SimpleNamespace(
        size=(160, 160),
        vae_factor=4,
        tokenizer=SimpleNamespace(model_max_length=32),
        text_encoder=SimpleNamespace(config=SimpleNamespace(hidden_size=24)),
        unet=SimpleNamespace(config=SimpleNamespace(in_channels=6)),
        vae=SimpleNamespace(config=SimpleNamespace(out_channels=3)),
    )


def written(ax) -> str:
    return "\n".join(text.get_text() for text in ax.texts)


def picture(level: int, size=(20, 10)) -> Image.Image:
    return Image.new("RGB", size, (level, level, level))


def test_shapes_come_from_the_configuration(machine):
    assert onepage.machine_shapes(machine, batch=2, height=80, width=120) == {
        "ids": (4, 32),
        "embeddings": (4, 32, 24),
        "latents": (2, 6, 20, 30),
        "unet input": (4, 6, 20, 30),
        "unet output": (4, 6, 20, 30),
        "picture": (2, 3, 80, 120),
    }


@pytest.mark.parametrize("asked", [{"height": 82}, {"width": 0}, {"height": -8}, {"batch": 0}, {"batch": 1.5}])
def test_shapes_of_what_cannot_be_are_refused(machine, asked):
    with pytest.raises(BadInput, match=next(iter(asked))):
        onepage.machine_shapes(machine, **asked)


def test_the_map_bears_the_shapes_and_lights_the_parts_asked_for(machine):
    fig = figure_machine(machine, steps=7, lit=("unet",))
    text = written(fig.axes[0])
    for shape in ("2 × 32", "2 × 32 × 24", "1 × 6 × 40 × 40", "2 × 6 × 40 × 40", "1 × 3 × 160 × 160", "7 times"):
        assert shape in text
        assert shape.replace("7 times", "7 rounds") in fig.words
    bold = [text.get_text() for text in fig.axes[0].texts if text.get_weight() == "bold"]
    assert "UNet" in bold and "guidance" not in bold
    with pytest.raises(ValueError, match="no such part: oven"):
        figure_machine(machine, lit=("oven",))


def test_the_strip_lights_one_room_and_bears_the_shapes(machine):
    fig = figure_strip(machine, "latents")
    texts = fig.axes[0].texts
    assert [text.get_text() for text in texts if text.get_weight() == "bold"] == ["03 latents"]
    for shape in ("2 × 32", "2 × 32 × 24", "1 × 6 × 40 × 40", "1 × 3 × 160 × 160"):
        assert shape in written(fig.axes[0]) and shape in fig.words
    aside, lit = figure_strip(machine, "samplers"), f"{lesson_number('samplers')} samplers"
    assert [text.get_text() for text in aside.axes[0].texts if text.get_weight() == "bold"] == [lit]
    with pytest.raises(ValueError, match="no such room: kitchen"):
        figure_strip(machine, "kitchen")


def test_a_table_bears_its_numbers():
    ax = plot_matrix(torch.tensor([[0.125, 1.0], [0.5, 0.25]]), ["a", "b"], ["c", "d"], decimals=1)
    assert [text.get_text() for text in ax.texts] == ["0.1", "1.0", "0.5", "0.2"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]


def test_the_way_shows_each_step_twice():
    noisy = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    sharp = Image.fromarray(np.tile([0, 255], (16, 8)).astype("uint8"))
    fig = figure_way(noisy, [picture(9), picture(99), sharp], [14.0, 3.0, 0.5], [0, 4, 9])
    assert len(fig.axes) == 6 and all(len(ax.images) == 1 for ax in fig.axes)
    assert fig.axes[1].get_title() == "step 4\nσ = 3.00"
    assert "0, 4, 9" in fig.words and "sharper" in fig.words
    assert "as sharp at the end as at the beginning" in figure_way(noisy[:1], [sharp], [14.0], [0]).words


def test_pictures_stand_in_rows_with_their_titles():
    fig = figure_pictures([picture(i) for i in range(5)], list("abcde"), columns=3, words="Five greys")
    titles = [ax.get_title() for ax in fig.axes]
    assert titles == [*"abcde", ""] and not fig.axes[5].images
    assert fig.words == "Five greys: a; b; c; d; e."
    assert figure_pictures([picture(1)]).words == "One picture, 20 by 10 pixels."


def test_a_figure_shows_its_words_as_alt_text(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *args, **kwargs: shown.append((args, kwargs)))
    fig = new_figure(figsize=(2, 1))
    assert isinstance(fig, WordedFigure)
    plot_map(torch.eye(2), "eye", ax=fig.subplots())
    fig.words = "A small map."
    fig._ipython_display_()
    (data,), options = shown[0]
    assert data["image/png"].startswith(b"\x89PNG") and data["text/plain"] == "A small map."
    assert options["metadata"]["image/png"] == {"alt": "A small map.", "width": 144, "height": 72}
    assert fig.render() == fig.render()  # the same figure gives the same file


def test_photographs_go_into_the_notebook_as_a_jpeg(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *args, **kwargs: shown.append((args, kwargs)))
    noise = torch.randint(0, 256, (128, 128, 3), generator=torch.Generator().manual_seed(0))
    fig = figure_pictures([Image.fromarray(noise.byte().numpy())], inches=4)
    fig._ipython_display_()
    (data,), options = shown[0]
    assert data["image/jpeg"].startswith(b"\xff\xd8") and "image/png" not in data
    assert options["metadata"]["image/jpeg"]["alt"] == fig.words
    fig.photographs = False
    assert len(data["image/jpeg"]) < len(fig.render()[1]) / 2


def test_drawing_changes_nothing_global():
    before = matplotlib.rcParams.copy()
    plot_map(torch.eye(3))
    plot_sigmas(torch.tensor([1.0, 0.0]))
    changed = {name for name, value in matplotlib.rcParams.items() if value != before[name]}
    assert changed <= {"backend"}  # Matplotlib itself resolves it when it is read
