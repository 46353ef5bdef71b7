"""The model card: what it tells is measured of the right set, and a run keeps the right weights."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from sdlesson.tiny import classifiers, data, likeness, quality
from sdlesson.world import HELD_OUT, MOUNTS, RIDERS, STYLES, Scene, painter
from sdlesson.world.captions import random_scene


def flat(value: int, side: int = 8) -> np.ndarray:
    return np.full((side, side, 3), value, dtype=np.uint8)


@pytest.mark.parametrize("heldout", [False, True])
def test_quality_the_exams_scenes_are_of_their_own_pairs_evenly(heldout):
    scenes = quality.exam_scenes(60, heldout)
    pairs = Counter((scene.rider, scene.mount) for scene in scenes)
    assert {pair in HELD_OUT for pair in pairs} == {heldout}
    assert len(pairs) == (len(HELD_OUT) if heldout else len(RIDERS) * len(MOUNTS) - len(HELD_OUT))
    assert set(pairs.values()) == {60 // len(pairs)}
    assert [scene.mount_colour is not None for scene in scenes] == [number % 3 == 0 for number in range(60)]
    assert all(scene.place and not scene.rider_colour for scene in scenes)
    assert quality.exam_scenes(60, heldout) == scenes != quality.exam_scenes(60, heldout, seed=12)
    assert len(quality.exam_scenes(7, heldout)) == 7


def test_quality_each_batch_has_noise_of_its_own_and_its_own_captions(monkeypatch):
    asked = []
    monkeypatch.setattr(quality, "paint", lambda captions, **how: asked.append((captions, how)) or captions)
    scenes = quality.exam_scenes(5, False)
    setting = quality.Setting(7.5, steps=50, order=1)
    painted = quality.paint_scenes("model", scenes, setting, seed=3, batch=2)
    assert painted == [scene.caption for scene in scenes]
    how = {"model": "model", "num_inference_steps": 50, "guidance_scale": 7.5, "order": 1}
    assert [told for _, told in asked] == [how | {"seed": seed} for seed in (3, 4, 5)]


def test_quality_adherence_is_the_share_that_follows_its_own_caption(monkeypatch):
    scenes = [Scene("cartoon", "robot", "duck", "sea"), Scene("photograph", "queen", "horse", "moon")]
    fields = ("style", "rider", "mount", "place", "rider_colour", "mount_colour")
    seen = [{name: getattr(scene, name) for name in fields} for scene in scenes]
    seen[1] |= {"rider": "robot", "mount_colour": "red"}
    monkeypatch.setattr(quality, "look", lambda classifier, pictures: [seen[k] for k in pictures])
    told = quality.adherence(None, scenes, [0, 1])
    assert told == dict.fromkeys(fields, 1) | {"rider": 0.5, "mount_colour": 0.5, "all": 0.5}


def test_quality_every_row_is_of_its_setting_split_and_classifier(monkeypatch):
    monkeypatch.setattr(quality, "paint_scenes", lambda sd, scenes, setting, batch: [(setting, s) for s in scenes])

    def told(classifier, scenes, painted):
        assert [scene for _, scene in painted] == scenes
        ((setting, heldout),) = {(setting, (s.rider, s.mount) in HELD_OUT) for setting, s in painted}
        return {"classifier": classifier, "setting": setting, "heldout": heldout, "count": len(scenes)}

    monkeypatch.setattr(quality, "adherence", told)
    rows = quality.measure_adherence(SimpleNamespace(guidance_scale=2.5), {"classifier": "ours", "plain": "other"}, 20)
    settings = [quality.Setting(row["guidance_scale"], row["steps"], row["order"]) for row in rows]
    assert settings == quality.settings_to_measure(2.5) and [row["setting"] for row in rows] == [*map(str, settings)]
    own = quality.Setting(2.5)
    assert own in settings and quality.Setting(8.0, steps=50) in settings
    for row, setting in zip(rows, settings, strict=True):
        assert row["pictures"] == (20 if setting == own else 10) and row["others"].keys() == {"plain"}
        for kept, classifier in ((row, "ours"), (row["others"]["plain"], "other")):
            for split in ("trained", "heldout"):
                assert kept[split] == {
                    "classifier": classifier,
                    "setting": setting,
                    "heldout": split == "heldout",
                    "count": row["pictures"],
                }


def test_quality_psnr_is_of_each_style_and_of_the_worst_picture(monkeypatch):
    scenes = [Scene(STYLES[k % 3], "robot") for k in range(6)]
    pictures = np.stack([flat(100)] * 6)
    wrong = np.arange(1, 7, dtype=np.uint8)[:, None, None, None]  # levels of 255: 1, 2 ... 6
    monkeypatch.setattr(quality, "draw_scenes", lambda rng, count: (scenes[:count], pictures[:count]))
    monkeypatch.setattr(quality, "round_trips", lambda vae, given: given + wrong)
    each = [20 * np.log10(255 / k) for k in range(1, 7)]
    told = quality.reconstruction(None, count=6)
    expected = {style: np.mean(each[k::3]) for k, style in enumerate(STYLES)}
    assert told == pytest.approx(expected | {"all": np.mean(each), "worst": each[-1]}, abs=1e-3)


def test_quality_a_round_trip_gives_the_drawings_back(tiny):
    _, pictures = quality.draw_scenes(np.random.default_rng(1), 2)
    decoded = quality.round_trips(tiny.vae, pictures)
    assert decoded.shape == pictures.shape and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - pictures).mean() < 12 < np.abs(decoded[::-1].astype(int) - pictures).mean()


def test_quality_the_latents_deviation_is_of_all_means():
    class Vae:
        device = "cpu"

        def encode(self, part):
            return SimpleNamespace(latent_dist=SimpleNamespace(mean=2 * part))

    pictures = np.stack([flat(value) for value in (0, 255, 255)])
    expected = (2 * data.as_pixels(pictures)).std().item()
    assert quality.latents_std(Vae(), pictures, batch=2) == pytest.approx(expected)


def test_quality_two_seeds_differ_by_levels(monkeypatch):
    pictures = {42: Image.fromarray(flat(200)), 43: Image.fromarray(flat(170))}
    monkeypatch.setattr(quality, "paint", lambda prompt, model, seed: [pictures[seed]])
    assert quality.two_seeds(None) == 30


def test_quality_what_is_painted_is_set_against_drawings_and_drawings_against_themselves(monkeypatch):
    monkeypatch.setattr(quality, "_two_drawings", lambda scenes: ["drawn", "anew"])
    monkeypatch.setattr(quality, "round_trips", lambda vae, pictures: (vae, pictures))

    def painted(sd, scenes, setting, batch):
        assert all((scene.rider, scene.mount) not in HELD_OUT for scene in scenes) and len(scenes) == 5
        assert (setting.steps, setting.order) == (20, 4)
        return [flat(int(10 * setting.guidance_scale))] * len(scenes)

    monkeypatch.setattr(quality, "paint_scenes", painted)
    monkeypatch.setattr(quality, "likeness", lambda *given: given)
    sd = SimpleNamespace(guidance_scale=2.5, vae="vae")
    eye, drawn, anew, sets = quality.measure_likeness(sd, "eye", 5)
    assert (eye, drawn, anew, sets.pop("encoded and decoded")) == ("eye", "drawn", "anew", ("vae", "anew"))
    shown = {name: (len(pictures), pictures[0, 0, 0, 0] / 10) for name, pictures in sets.items()}
    assert shown == {f"painted, guidance {scale:g}": (5, scale) for scale in (1, 2, 2.5, 3, 5, 7.5, 8)}


def test_quality_the_ablations_are_measured_on_the_drawings_that_went_through_them(monkeypatch):
    drawn, anew = np.stack([flat(9)]), np.stack([flat(100)])
    vae = SimpleNamespace(to=lambda device: "moved")
    monkeypatch.setattr(quality, "_two_drawings", lambda scenes: [drawn, anew])
    monkeypatch.setattr(quality, "load_ablations", lambda folder: {"kl": (vae, 640)})
    monkeypatch.setattr(quality, "round_trips", lambda vae, pictures: pictures + 2)
    monkeypatch.setattr(quality, "latents_std", lambda vae, pictures: 1.5 if pictures is anew else 0)
    monkeypatch.setattr(
        quality,
        "likeness",
        lambda _eye, first, second, sets: {"decoded": {"levels": [*map(np.mean, (first, second, sets["decoded"]))]}},
    )
    (row,) = quality.measure_ablations(Path(), torch.nn.Linear(1, 1)).values()
    psnr = pytest.approx(20 * np.log10(255 / 2), abs=1e-3)
    assert row == {"pictures": 640, "psnr": psnr, "levels": [9, 100, 102], "latents_std": 1.5}


def test_quality_the_eye_judges_likeness_alone_and_unseen_drawings_are_half_of_held_out_pairs(monkeypatch, tmp_path):
    class Named:
        def __init__(self, name):
            self.name = name

        def to(self, device):
            return self

    drawn = []
    sd = SimpleNamespace(
        device="cpu", guidance_scale=2.5, vae=SimpleNamespace(config=SimpleNamespace(scaling_factor=3))
    )
    for part, count in (("unet", 1), ("text_encoder", 2)):
        setattr(sd, part, SimpleNamespace(num_parameters=lambda count=count: count))
    sd.vae.num_parameters = lambda: 3
    monkeypatch.setattr(quality, "load", lambda folder: sd)
    monkeypatch.setattr(quality, "load_classifier", lambda folder: Named(folder.name))
    monkeypatch.setattr(quality, "load_other", lambda folder, name: Named(name))

    def draw_scenes(rng, count, heldout=0.25):
        drawn.append((count, heldout))
        return [], []

    monkeypatch.setattr(quality, "draw_scenes", draw_scenes)
    monkeypatch.setattr(quality, "adherence", lambda classifier, scenes, pictures: {"all": classifier.name})
    monkeypatch.setattr(quality, "reconstruction", lambda vae: {})
    monkeypatch.setattr(quality, "two_seeds", lambda sd: 1)
    monkeypatch.setattr(quality, "measure_likeness", lambda sd, eye: eye.name)
    monkeypatch.setattr(quality, "measure_ablations", lambda folder, eye: (folder, eye.name))
    monkeypatch.setattr(quality, "measure_adherence", lambda sd, all_of_them, count: ([*all_of_them], count))
    told = quality.measure(tmp_path, tmp_path, 7, Path("ablations"))
    assert drawn == [(1000, 0.5)] and told["parameters"] == {"unet": 1, "vae": 3, "text_encoder": 2}
    assert told["classifier"] == {"all": "classifier"}
    assert told["others"] == {"plain": {"all": "plain"}, "residual": {"all": "residual"}}
    assert (told["likeness"], told["ablations"]) == ("eye", (Path("ablations"), "eye"))
    assert told["adherence"] == (["classifier", "plain", "residual"], 7)


def test_quality_missing_classifiers_are_made_each_with_its_seed_and_the_eye_from_drawings_as_they_are(
    monkeypatch, tmp_path
):
    made, kept = [], []
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "model.safetensors").touch()
    monkeypatch.setattr(
        quality, "train_classifier", lambda minutes, seed, classifier, softened: made.append((minutes, seed, softened))
    )
    monkeypatch.setattr(quality, "save_classifier", lambda trained, folder: kept.append(folder.name))
    quality.make_classifiers(tmp_path, 0.5)
    seeds = {name: seed for name, (_, seed) in classifiers.CLASSIFIERS.items()}
    assert made == [(0.5, seeds["residual"], True), (0.5, seeds["eye"], False)] and kept == ["residual", "eye"]


def test_likeness_shares_are_of_the_drawings_and_the_distance_counts_in_the_floor(monkeypatch):
    monkeypatch.setattr(likeness, "features", lambda classifier, pictures: pictures[:, 0, 0].astype(float))
    rng = np.random.default_rng(0)
    drawn, anew, far = (rng.integers(low, low + 100, (40, 6, 6, 3), dtype=np.uint8) for low in (0, 8, 120))
    rows = likeness.likeness(None, drawn, anew, {"far": far // 2 + 60})
    first, other, third = (each[:, 0, 0].astype(float) for each in (drawn, anew, far // 2 + 60))
    floor = likeness.frechet(first, other)
    assert [*rows] == ["drawn anew", "far"] and rows["drawn anew"]["frechet"] == 1
    assert rows["far"]["frechet"] == pytest.approx(likeness.frechet(first, third) / floor)
    assert rows["far"]["contrast"] == pytest.approx(likeness.contrast(far // 2 + 60) / likeness.contrast(drawn))


def test_data_fresh_pictures_are_in_no_training_set_whatever_its_seed():
    pictures, captions = data.fresh_pictures(1, 2, 32)
    drawn = [data.draw_example(2**32 + 1, index, 32) for index in range(2)]
    assert captions == [caption for _, caption in drawn] != [data.draw_example(1, k, 32)[1] for k in range(2)]
    assert torch.equal(pictures, data.as_pixels(np.stack([picture for picture, _ in drawn])))


def toy_trainer(folder, seconds, loss=None):
    """A trainer of one number."""
    pytest.importorskip("accelerate")
    from accelerate import Accelerator

    from sdlesson.tiny.loop import Job, Trainer

    class Objective(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)

        def forward(self, x):
            found = self.layer(x).square().mean()
            return found * (1 if loss is None else loss)

    batch = lambda generator: (torch.ones(1, 2),)  # noqa: E731
    job = Job("toy", Objective(), batch, 1, seconds, save=lambda: None, sheet=lambda path: None)
    return Trainer(job, folder, Accelerator(cpu=True), seed=0)


def test_loop_a_loss_that_is_no_number_ends_the_run_and_is_never_saved(tmp_path):
    with pytest.raises(RuntimeError, match=r"loss of toy is nan at step 1\."):
        toy_trainer(tmp_path, 0.2, float("nan")).run()
    assert not list(tmp_path.iterdir())


def test_loop_writing_files_is_no_training_time(tmp_path, monkeypatch):
    from sdlesson.tiny import loop

    clock, writes = [0.0], []

    def step(self, used):
        clock[0] += 1
        self.progress.step += 1
        return torch.tensor(1.0)

    monkeypatch.setattr(loop.time, "perf_counter", lambda: clock[0])
    trainer = toy_trainer(tmp_path, 10)
    monkeypatch.setattr(loop.Trainer, "_step", step)
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 2.0)
    trainer._publish = lambda: None

    def checkpoint():
        trainer._marks["checkpoint"] = trainer.progress.elapsed
        writes.append(clock[0])
        clock[0] += 100

    trainer._checkpoint = checkpoint
    progress = trainer.run()
    assert progress.step == 10 and progress.elapsed == 10 and len(writes) > 1


def test_loop_what_is_saved_are_the_averaged_weights_and_training_goes_on_with_its_own(tmp_path, monkeypatch):
    from sdlesson.tiny import loop

    def weights():
        return [each.detach().clone() for each in trainer.optimizer.parameters]

    trainer, saved = toy_trainer(tmp_path, 1), []
    monkeypatch.setattr(loop, "plot_history", lambda *_: None)
    trainer.job.save, trainer.job.sheet = lambda: saved.append(weights()), lambda path: saved.append((path, weights()))
    live, trainer.averages = weights(), [torch.full_like(each, 7) for each in trainer.averages]
    trainer.progress.elapsed = 150.0  # seconds
    trainer._publish()
    path, sheet = saved.pop()
    assert path == tmp_path / "sheets" / "toy-002.5min.png"
    assert all((each == 7).all() for each in [*saved[0], *sheet]) and all(map(torch.equal, live, weights()))


def test_run_a_stages_first_weights_come_from_the_seed_of_the_run(tmp_path, monkeypatch):
    pytest.importorskip("accelerate")
    from sdlesson.tiny import run as training

    first = []
    monkeypatch.setitem(training.RUNNERS, "pictures", lambda run: first.append(torch.rand(3).tolist()))
    for seed in (5, 5, 6):
        accelerator = SimpleNamespace(wait_for_everyone=lambda: None)
        training.run_stage(SimpleNamespace(folder=tmp_path, seed=seed, accelerator=accelerator), "pictures")
    assert first[0] == first[1] != first[2]


def test_data_the_first_pictures_have_their_own_captions_across_files(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "CHUNK", 3)
    for number in range(3):
        data._draw_chunk(str(tmp_path), number, 3, 5, 32)
    examples = [data.draw_example(5, index, 32) for index in range(9)]
    for most, count in ((None, 9), (4, 6), (3, 3)):
        pictures = data.Pictures(tmp_path, most=most)
        assert len(pictures) == len(pictures.captions) == count
        for index, (picture, caption) in enumerate(examples[:count]):
            assert pictures.captions[index] == caption and np.array_equal(pictures.pixels[index].numpy(), picture)


def test_captions_of_the_training_scenes_as_many_ride_and_are_coloured_as_is_said():
    rng = np.random.default_rng(7)
    scenes = [random_scene(rng) for _ in range(4000)]

    def share(of, what):
        return sum(map(what, of)) / len(of)

    riding = share(scenes, lambda s: bool(s.rider and s.mount))
    assert (riding, share(scenes, lambda s: bool(s.rider and not s.mount))) == pytest.approx((0.64, 0.13), abs=0.03)
    mounts, riders = ([s for s in scenes if getattr(s, part)] for part in ("mount", "rider"))
    coloured = share(mounts, lambda s: bool(s.mount_colour)), share(riders, lambda s: bool(s.rider_colour))
    assert coloured == pytest.approx((0.35, 0.2), abs=0.03)


def test_painter_each_colour_looks_like_its_word():
    kinds = {
        "red": lambda r, g, b: r > 1.5 * max(g, b),
        "blue": lambda r, g, b: b > 1.3 * max(r, g),
        "green": lambda r, g, b: g > 1.3 * max(r, b),
        "golden": lambda r, g, b: r >= g > 1.5 * b,
        "pink": lambda r, g, b: r > 1.1 * b > 1.2 * g,
        "white": lambda r, g, b: min(r, g, b) > 140 and max(r, g, b) < 1.2 * min(r, g, b),
    }
    for word in kinds:
        scene = Scene("cartoon", mount="elephant", mount_colour=word)
        rng = np.random.default_rng(3)
        mask = painter.locate(scene, rng)["mount"]
        colour = np.median(np.asarray(painter.draw(scene, rng))[mask], axis=0)
        assert [name for name, is_it in kinds.items() if is_it(*colour.tolist())] == [word], colour
