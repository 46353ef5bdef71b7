"""The tiny world: its grammar is a bijection, its pictures are what the scenes say, and vary as they should."""

import dataclasses
import itertools

import numpy as np
import pytest

from sdlesson.world import (
    COLOURS,
    HELD_OUT,
    MOUNTS,
    PLACES,
    RIDERS,
    STYLES,
    Scene,
    draw,
    locate,
    parse_caption,
    random_scene,
)
from sdlesson.world.brush import Brush
from sdlesson.world.classifier import (
    NOT_SAID,
    QUESTIONS,
    Classifier,
    follows,
    labels,
    load_classifier,
    look,
    save_classifier,
)

SUBJECTS = [(rider, mount) for rider in (None, *RIDERS) for mount in (None, *MOUNTS) if rider or mount]


def pixels(scene, seed=0, size=128):
    return np.asarray(draw(scene, np.random.default_rng(seed), size)).astype(int)


def test_world_is_as_large_as_promised():
    assert len(STYLES) >= 3 and len(RIDERS) >= 6 and len(MOUNTS) >= 6 and len(PLACES) >= 8
    assert "astronaut" in RIDERS and "horse" in MOUNTS
    assert len(HELD_OUT) >= len(RIDERS) * len(MOUNTS) / 10
    assert ("astronaut", "horse") not in HELD_OUT
    assert {r for r, _ in HELD_OUT} == set(RIDERS) and {m for _, m in HELD_OUT} == set(MOUNTS)


def test_articles_sentence_is_a_caption():
    scene = parse_caption("a photograph of an astronaut riding a horse")
    assert scene == Scene("photograph", "astronaut", "horse")
    assert scene.caption == "a photograph of an astronaut riding a horse"
    assert parse_caption("A photograph of an astronaut  riding a horse on the moon.").place == "moon"


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_random_scenes_parse_back_and_keep_to_their_split(split):
    rng = np.random.default_rng(0)
    scenes = [random_scene(rng, split) for _ in range(2000)]
    assert all(parse_caption(s.caption) == s for s in scenes)
    assert all(((s.rider, s.mount) in HELD_OUT) == (split == "heldout") for s in scenes)
    if split == "train":
        for field, words in {**QUESTIONS, "place": (None, *PLACES)}.items():
            assert {getattr(s, field) for s in scenes} == set(words)
        assert {(s.rider, s.mount) for s in scenes if s.rider and s.mount} == set(
            itertools.product(RIDERS, MOUNTS)
        ) - HELD_OUT


def test_every_short_scene_has_its_own_caption():
    scenes = [
        Scene(style, rider, mount, place)
        for style in STYLES
        for rider in (None, *RIDERS)
        for mount in (None, *MOUNTS)
        for place in (None, *PLACES)
        if rider or mount or place
    ]
    assert len({s.caption for s in scenes}) == len(scenes)
    assert all(parse_caption(s.caption) == s for s in scenes)


@pytest.mark.parametrize(
    "text",
    ["", "a horse", "a photograph of", "a photograph of a astronaut", "a photograph of a horse riding an astronaut",
     "an oil painting of a horse", "a photograph of a purple horse", "a photograph of a horse on a moon",
     "a photograph of on the moon",
     "a photograph of an astronaut riding", "a photograph of an astronaut a horse", "a photograph of a horse the moon"],
)  # fmt: skip
def test_other_sentences_are_refused_with_the_grammar(text):
    with pytest.raises(ValueError, match="its sentences read"):
        parse_caption(text)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"style": "etching", "rider": "robot"}, "no style 'etching'"),
        ({"style": "cartoon", "rider": "pirate"}, "no rider 'pirate'"),
        ({"style": "cartoon", "mount": "horse", "rider_colour": "red"}, "colour needs"),
        ({"style": "cartoon"}, "needs a rider, a mount or a place"),
    ],
)
def test_impossible_scenes_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Scene(**fields)


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="'train' or 'heldout'"):
        random_scene(np.random.default_rng(0), "test")


def test_drawing_is_deterministic_and_scales():
    scene = Scene("photograph", "astronaut", "horse", "moon", mount_colour="red")
    assert (pixels(scene) == pixels(scene)).all()
    assert pixels(scene).shape == (128, 128, 3) and pixels(scene, size=256).shape == (256, 256, 3)
    halved = pixels(scene, size=256).reshape(128, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(halved - pixels(scene)).mean() < 4  # the same picture, only finer


@pytest.mark.parametrize("style", STYLES)
def test_every_seed_and_every_word_shows(style):
    """Another seed, rider, mount, place or colour changes at least 2 % of the pixels visibly; nothing is blank."""
    plain = Scene(style, "astronaut", "horse", "beach")

    def differ(a, b):
        return (np.abs(a - b).max(-1) > 24).mean()

    base = pixels(plain)
    assert base.std() > 15
    assert all(differ(base, pixels(plain, seed)) > 0.02 for seed in range(1, 6))
    for field, words in {"rider": RIDERS, "mount": MOUNTS, "place": tuple(PLACES)}.items():
        pictures = [pixels(dataclasses.replace(plain, **{field: word})) for word in words]
        assert all(differ(a, b) > 0.02 for a, b in itertools.combinations(pictures, 2)), field
    for field in ("rider_colour", "mount_colour"):
        pictures = [pixels(dataclasses.replace(plain, **{field: word})) for word in (None, *COLOURS)]
        likeness = [differ(a, b) for a, b in itertools.combinations(pictures, 2)]
        assert sum(d > 0.01 for d in likeness) >= len(likeness) - 1, field  # an astronaut's own suit is white


@pytest.mark.parametrize("style", STYLES)
def test_riders_and_mounts_are_told_apart_without_fine_detail(style):
    """At a quarter of the size, where fine lines are gone, each still differs visibly from each of the others."""
    plain = Scene(style, "astronaut", "horse", "beach")
    for field, words, share in (("rider", RIDERS, 0.065), ("mount", MOUNTS, 0.17)):
        for seed in range(3):
            scenes = [dataclasses.replace(plain, **{field: word}) for word in words]
            small = [pixels(scene, seed).reshape(32, 4, 32, 4, 3).mean((1, 3)) for scene in scenes]
            for (a, one), (b, other) in itertools.combinations(zip(words, small, strict=True), 2):
                assert (np.abs(one - other).max(-1) > 24).mean() > share, (a, b, seed)


def _opened(dark):
    """What a grey opening with a 2 × 2 square leaves: nothing of a line that is thinner than two pixels."""
    square = [(i, j) for i in (0, 1) for j in (0, 1)]
    eroded = np.min([dark[i : 127 + i, j : 127 + j] for i, j in square], axis=0)
    left = np.zeros_like(dark)
    for i, j in square:
        left[i : 127 + i, j : 127 + j] = np.maximum(left[i : 127 + i, j : 127 + j], eroded)
    return left


@pytest.mark.parametrize(("rider", "mount"), SUBJECTS)
def test_lines_are_wide_enough_for_the_autoencoder(rider, mount):
    """Of the ink of a line drawing at least 9/10 lies in strokes of two pixels and more."""
    for seed, place in enumerate(PLACES):
        ink = np.clip(240 - pixels(Scene("line drawing", rider, mount, place), seed).mean(-1), 0, None)
        assert _opened(ink).sum() > 0.9 * ink.sum(), place


@pytest.mark.parametrize(("rider", "mount"), SUBJECTS)
def test_subjects_stay_inside_the_picture(rider, mount):
    """No head, hat or tail is cut off by the frame."""
    for seed in range(8):
        covered = np.any(list(locate(Scene("cartoon", rider, mount), np.random.default_rng(seed)).values()), axis=0)
        assert not (covered[0].any() or covered[-1].any() or covered[:, 0].any() or covered[:, -1].any()), seed


def test_a_scene_without_a_place_gets_one_from_the_seed():
    corners = {tuple(pixels(Scene("cartoon", mount="horse"), seed)[2, 2]) for seed in range(40)}
    assert len(corners) >= 5


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("mount", MOUNTS)
def test_the_painter_knows_where_it_drew(style, mount):
    """Another colour of the mount or of the rider changes pixels in its mask, or at its soft edge, and nowhere else."""
    plain = Scene(style, "knight", mount, "beach")
    where = locate(plain, np.random.default_rng(3))
    assert not (where["mount"] & where["rider"]).any()
    for part in ("rider", "mount"):
        red, green = (dataclasses.replace(plain, **{f"{part}_colour": word}) for word in ("red", "green"))
        changed = np.abs(pixels(red, 3) - pixels(green, 3)).max(-1) > 24
        around = np.pad(where[part], 2)
        around = np.any([around[i : i + 128, j : j + 128] for i in range(5) for j in range(5)], axis=0)
        assert changed.sum() > 40 and (changed & ~around).sum() <= 3  # thin lines of the rider let some through
        assert 0.02 < where[part].mean() < 0.3


@pytest.mark.parametrize("scene", [Scene("photograph", "robot", "horse"), Scene("photograph", "queen")])
def test_a_shadow_belongs_to_nobody(scene, monkeypatch):
    where = locate(scene, np.random.default_rng(3))
    monkeypatch.setattr(Brush, "shadow", lambda *_: None)
    bare = locate(scene, np.random.default_rng(3))
    assert all((where[part] == bare[part]).all() for part in bare)


def test_locating_leaves_the_generator_to_the_painter():
    scene, rng = Scene("photograph", "robot", "horse"), np.random.default_rng(5)
    first = locate(scene, rng, size=64)
    assert (np.asarray(draw(scene, rng, 64)) == pixels(scene, 5, 64)).all()
    again = locate(scene, np.random.default_rng(5), size=64)
    assert first["rider"].shape == (64, 64) and all((first[part] == again[part]).all() for part in first)
    assert set(locate(Scene("cartoon", mount="duck"), rng)) == {"mount"}
    assert set(locate(Scene("cartoon", rider="queen"), rng)) == {"rider"}
    assert locate(Scene("cartoon", place="moon"), rng) == {}


def test_painter_leaves_the_global_generators_alone():
    before = np.random.get_state()[1].copy()
    pixels(Scene("line drawing", "robot", "rocket", "city"))
    assert (np.random.get_state()[1] == before).all()


def test_the_classifier_answers_every_question_and_reloads(tmp_path):
    scenes = [Scene("cartoon", "robot", "duck", "sea"), Scene("photograph", mount="horse")]
    pictures = [draw(s, np.random.default_rng(1)) for s in scenes]
    classifier = Classifier()
    save_classifier(classifier, tmp_path)
    seen = look(load_classifier(tmp_path), pictures)
    assert [set(answers) for answers in seen] == [set(QUESTIONS)] * 2
    assert labels(scenes)["place"].tolist() == [list(PLACES).index("sea"), NOT_SAID]
    with pytest.raises(FileNotFoundError, match="No classifier"):
        load_classifier(tmp_path / "nowhere")


def test_follows_counts_what_the_caption_names():
    scene = Scene("cartoon", "robot", "duck", mount_colour="red")
    answers = {
        "style": "cartoon",
        "rider": "robot",
        "mount": "duck",
        "place": "sea",
        "rider_colour": None,
        "mount_colour": "blue",
    }
    right = follows(scene, answers)
    assert right["all"] and right["place"] and not right["mount_colour"]
    assert not follows(scene, answers | {"mount": "horse"})["all"]


def test_shipped_classifier_is_right_on_fresh_drawings():
    rng = np.random.default_rng(20_260_101)
    scenes = [random_scene(rng, "train" if i % 2 else "heldout") for i in range(300)]
    seen = look(load_classifier(), [draw(s, rng) for s in scenes])
    assert np.mean([follows(s, a)["all"] for s, a in zip(scenes, seen, strict=True)]) >= 0.98
