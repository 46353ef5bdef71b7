"""What the model card measures: likeness of sets, classifiers, tables; and the autoencoder's critics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from transformers import CLIPModel

from sdlesson.decoding import paint
from sdlesson.models import ARTICLE_PROMPT, checkpoint_path
from sdlesson.tiny import ablation, vae
from sdlesson.tiny.card import (
    ablations_table,
    curves_text,
    guidance_table,
    likeness_table,
    model_card,
    recommended_table,
)
from sdlesson.tiny.classifiers import CLASSIFIERS, load_other
from sdlesson.tiny.classify import draw_scenes
from sdlesson.tiny.critics import PerceptualDistance, build_discriminator, fooled, told_apart
from sdlesson.tiny.data import as_pixels, mirror_half
from sdlesson.tiny.likeness import contrast, frechet, high_frequencies, likeness, sharpness
from sdlesson.tiny.quality import SEEDS, adherence, save_seeds
from sdlesson.tiny.settings import SIZES, SMOKE
from sdlesson.world.classifier import QUESTIONS, look, save_classifier


@pytest.fixture(scope="module")
def drawings():
    return draw_scenes(np.random.default_rng(3), 12)


def blurred(pictures: np.ndarray) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(p).filter(ImageFilter.GaussianBlur(1))) for p in pictures])


def test_flat_pictures_have_no_sharpness_detail_or_contrast():
    flat = np.full((2, 16, 16, 3), 90, dtype=np.uint8)
    assert sharpness(flat) == contrast(flat) == 0
    assert high_frequencies(flat) == pytest.approx(0, abs=1e-12)


def test_sharpness_of_known_stripes():
    stripes = np.zeros((1, 16, 16, 3), dtype=np.uint8)
    stripes[:, :, ::2] = 200
    assert sharpness(stripes) == pytest.approx(100)  # 200 from column to column, 0 from row to row
    assert contrast(stripes) == pytest.approx(100)


def test_high_frequencies_begin_at_an_eighth_of_the_sampling_rate():
    x = np.arange(64)
    waves = {c: np.round(127 + 100 * np.sin(2 * np.pi * c * x / 64)).astype(np.uint8) for c in (4, 12)}
    slow, fast = (np.broadcast_to(waves[c][None, None, :, None], (1, 64, 64, 3)) for c in (4, 12))
    assert high_frequencies(fast) > 1000 * high_frequencies(slow)


def test_frechet_of_gaussians():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4000, 3))
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet(a, a + [3, 0, 4]) == pytest.approx(25)
    assert frechet(a, 3 * a - 2 * a.mean(axis=0)) == pytest.approx(3 * 2**2, rel=0.05)  # (3 − 1)² a dimension


def test_blur_is_told_by_every_measure(drawings):
    _, pictures = drawings
    torch.manual_seed(0)
    rows = likeness(CLASSIFIERS["eye"][0]().eval(), pictures, pictures[::-1] // 2, {"blurred": blurred(pictures)})
    assert rows["drawn anew"]["frechet"] == pytest.approx(1)
    assert rows["blurred"]["sharpness"] < 0.9 and rows["blurred"]["high_frequencies"] < 0.5


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_classifiers_answer_and_reload(name, drawings, tmp_path):
    scenes, pictures = drawings
    torch.manual_seed(1)
    classifier = CLASSIFIERS[name][0]().eval()
    save_classifier(classifier, tmp_path / name)
    seen = look(load_other(tmp_path, name), pictures)
    assert len(seen) == 12 and all(set(each) == set(QUESTIONS) for each in seen)
    assert set(adherence(classifier, scenes, pictures)) == {*QUESTIONS, "all"}
    with pytest.raises(FileNotFoundError):
        load_other(tmp_path / "nowhere", name)


def test_classifiers_differ_in_shape_and_seed():
    sizes = {name: sum(p.numel() for p in build().parameters()) for name, (build, _) in CLASSIFIERS.items()}
    assert sizes["plain"] != sizes["residual"]
    assert len({seed for _, seed in CLASSIFIERS.values()}) == len(CLASSIFIERS)


def results() -> dict:
    shares = dict.fromkeys((*QUESTIONS, "all"), 0.99)
    both = {"trained": shares, "heldout": {**shares, "all": 0.5}}
    row = {"setting": "guidance 3", "pictures": 100, "guidance_scale": 3.0, "steps": 20, "order": 4, **both}
    return {
        "guidance_scale": 3.0,
        "classifier": {"all": 0.987},
        "others": {"plain": {"all": 0.991}},
        "adherence": [{**row, "others": {"plain": both}}, {**row, "guidance_scale": 8.0, "others": {"plain": both}}],
        "likeness": {"painted": {"sharpness": 0.9, "high_frequencies": 0.66, "contrast": 0.97, "frechet": 3.71}},
    }


def test_tables_give_every_classifier_with_its_interval():
    lines = recommended_table(results()).splitlines()
    assert len(lines) == 6 and len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| classifier | trained | 100 | 99.0 (94.6–99.8) |") and lines[2].endswith("| 98.7 |")
    assert lines[5].startswith("| plain | held out | 100 | 50.0 (40.4–59.6) |")
    assert len(guidance_table(results()).splitlines()) == 6
    assert likeness_table(results()).splitlines()[2] == "| painted | 0.90 | 0.66 | 0.97 | 3.7 |"


def test_the_shipped_card_says_what_was_measured():
    folder = checkpoint_path()
    assert (folder / "README.md").read_text(encoding="utf-8") == model_card(folder)


def test_the_cards_sheet_holds_the_pictures_of_its_seeds(toy, tmp_path):
    save_seeds(toy, tmp_path / "seeds.png")
    sheet = np.asarray(Image.open(tmp_path / "seeds.png"))
    height, width = toy.size
    assert sheet.shape == (16 + 2 * height, 8 * width, 3)
    (last,) = paint(ARTICLE_PROMPT, model=toy, seed=SEEDS[-1])
    assert np.abs(sheet[-height:, -width:].astype(int) - np.asarray(last)).max() <= 1  # another batch, another rounding


@pytest.fixture(scope="module")
def clip():
    return CLIPModel.from_pretrained(checkpoint_path() / "clip")


def test_perceptual_distance_grows_with_the_change(clip, drawings):
    distance = PerceptualDistance(clip)
    a, b = (as_pixels(each) for each in (drawings[1], blurred(drawings[1])))
    shift = torch.tensor([3, 11])
    near, far = (distance(a, a.lerp(b, share), shift).item() for share in (0.3, 1.0))
    assert distance(a, a, shift).item() == 0 < near < far
    rolled = distance(a.roll((3, 11), (2, 3)), b.roll((3, 11), (2, 3)), torch.tensor([0, 0]))
    assert rolled.item() == pytest.approx(distance(a, b, torch.tensor([-3, -11])).item(), rel=1e-4)


def test_ablations_stand_in_the_card_only_where_measured():
    assert ablations_table(results()) == ablations_table({**results(), "ablations": {}}) == ""
    row = {"psnr": 21.5, "sharpness": 0.9, "high_frequencies": 0.5, "frechet": 2.0, "latents_std": 1.5}
    row["pictures"] = 9600
    text = ablations_table({"ablations": {"nothing": row, "kl": row}})
    assert "| kl | 9,600 | 21.50 | 0.900 | 0.500 | 2.000 | 1.500 |" in text and text.endswith("\n\n")


def test_curves_stand_in_the_card_only_where_told():
    assert curves_text({}) == ""
    told = curves_text({"curves": "Two runs."})
    assert told.startswith("Two runs.\n\n![") and "(curves.png)" in told


def test_the_critics_are_weighed_at_steps_that_a_restart_knows(clip):
    critics = vae.Reconstruction(vae.build_vae(SIZES["tiny"]), clip)
    batch = [torch.rand(1, 3, 128, 128), torch.rand(1, 4, 16, 16), torch.tensor([3, 5])]
    critics.follow(1.0, vae.BALANCE_EVERY - 1, batch)
    assert critics.adversarial and critics.balance == 0
    critics.follow(1.0, vae.BALANCE_EVERY, batch)
    weight = critics.balance.item()
    critics.follow(1.0, vae.BALANCE_EVERY + 1, batch)
    assert critics.balance.item() == weight > 0


def test_neither_critic_trains_the_other():
    torch.manual_seed(0)
    discriminator = build_discriminator()
    decoded = torch.randn(2, 3, 64, 64, requires_grad=True)
    fooled(discriminator, decoded).backward()
    assert decoded.grad.abs().max() > 0 and all(p.grad is None for p in discriminator.parameters())
    decoded.grad = None
    told_apart(discriminator, torch.randn(2, 3, 64, 64), decoded).backward()
    assert decoded.grad is None and all(p.grad is not None for p in discriminator.parameters())


def objective(clip, terms=vae.TERMS) -> vae.Reconstruction:
    torch.manual_seed(0)
    return vae.Reconstruction(vae.build_vae(SMOKE), clip, terms)


BATCH = [torch.rand(2, 3, 128, 128) * 2 - 1, torch.randn(2, 4, 16, 16), torch.tensor([1, 2])]


def test_adversarial_term_waits_and_is_weighed(clip):
    loss = objective(clip)
    loss.follow(vae.SETTLED - 0.01, 0, BATCH)
    assert not loss.adversarial and loss.balance == 0
    loss.follow(vae.SETTLED, 0, BATCH)
    assert loss.adversarial
    decoded, _ = loss._round_trip(BATCH[0], BATCH[1])
    last = loss.vae.decoder.conv_out.weight
    terms = (loss._reconstruction(decoded, BATCH[0], BATCH[2]), loss.balance * fooled(loss.discriminator, decoded))
    pulls = [torch.autograd.grad(term, last, retain_graph=True)[0].norm().item() for term in terms]
    assert pulls[1] == pytest.approx(vae.ADVERSARIAL * pulls[0], rel=1e-3)


@pytest.mark.parametrize("term", vae.TERMS)
def test_a_term_can_be_left_out(term, clip):
    values = []
    for terms in (vae.TERMS, set(vae.TERMS) - {term}):
        loss = objective(clip, terms)
        loss.follow(0.9, 0, BATCH)
        values.append(loss(*BATCH).item())
    assert values[1] != values[0]


def test_ablations_are_found_again(tmp_path):
    for term in ("edge", "nothing"):
        vae.build_vae(SMOKE).save_pretrained(tmp_path / term / "vae")
        (tmp_path / term / "pictures.json").write_text("640")
    loaded = ablation.load_ablations(tmp_path)
    assert list(loaded) == ["nothing", "edge"] and loaded["edge"][1] == 640


def test_half_of_the_pictures_are_mirrored():
    pixels = torch.arange(4.0).expand(400, 1, 1, 4)
    mirrored = mirror_half(pixels, torch.Generator().manual_seed(0))[:, 0, 0, 0] == 3
    assert 160 < mirrored.sum() < 240
