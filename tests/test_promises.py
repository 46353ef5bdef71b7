"""What is computed is what is told: explorers, signs, words of warnings, files that are whole."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from PIL import Image
from test_explorers import alts

from sdlesson import decoding, embeddings, guidance, latents, samplers, steering, symptoms, tokens, training, unet
from sdlesson.explorers.base import Painting
from sdlesson.explorers.guidance import explore_guidance
from sdlesson.explorers.unet import explore_unet
from sdlesson.guidance import record
from sdlesson.loading.errors import BadInput
from sdlesson.unet import cut_skips, record_maps, stages


def test_explorers_guidance_tells_percent(toy):
    trace = record(toy, "a horse", num_inference_steps=2, guidance_scale=2)
    share = float((decoding.decode(toy.vae, trace.steps[-1].latents * 40).abs() > 1).float().mean())
    loud = dataclasses.replace(trace.steps[-1], latents=trace.steps[-1].latents * 40)
    explorer = explore_guidance(toy, [dataclasses.replace(trace, steps=(trace.steps[0], loud))])
    assert share > 0.02 and f"; {100 * share:.1f} % of the picture's numbers were cut off" in explorer.page.value


def test_explorers_unet_shows_the_prompts_half_and_the_scaled_latents(toy):
    with record_maps(stages(toy.unet)) as maps:
        trace = record(toy, "a horse", num_inference_steps=2, guidance_scale=5)
    explorer = explore_unet(toy, trace, maps)
    stage, step, cut = (explorer.knobs[name] for name in ("stage", "step", "cut"))
    stage.value, step.value = "mid_block", 0

    def spans():
        return [
            (int(k), span)
            for k, span in re.findall(r"Channel (\d+) of mid_block, [^:]*: ([-\d. to]+)", "\n".join(alts(explorer)))
        ]

    def told(rows):  # of the kept maps, one row
        return [(k, f"{float(rows[k].min()):.2f} to {float(rows[k].max()):.2f}") for k, _ in spans()]

    assert spans() and spans() == told(maps["mid_block"][0][-1]) != told(maps["mid_block"][0][0])
    cut.value = (0,)  # the same call again, without one skip: the latents as the UNet sees them, the prompt's half
    now = trace.steps[0]
    with record_maps(stages(toy.unet)) as found, cut_skips(toy.unet, [0]), torch.no_grad():
        unet.predict(toy.unet, now.noisy / (now.sigma**2 + 1) ** 0.5, now.timestep, trace.text_embeddings)
    stage.value = "up_blocks.1"
    shown = re.findall(r"Channel (\d+) of up_blocks.1, [^:]*: ([-\d.]+) to", "\n".join(alts(explorer)))
    assert shown == [(k, f"{float(found['up_blocks.1'][0][-1][int(k)].min()):.2f}") for k, _ in shown] != []


def test_explorers_a_run_after_a_stopped_one_goes_to_its_end():
    done, said = [], []
    painting = Painting("Paint", lambda: (iter(range(3)), 3, done.append), said.append)
    painting.stop()
    for _ in range(2):
        painting.start()
        painting.wait(30)
    assert done == [[0, 1, 2]] * 2 and said == ["", ""]


def test_symptoms_what_lies_beyond_white_is_counted_and_mysteries_differ_round_by_round(toy):
    call = symptoms.Call(9.0, torch.zeros(2, 4, 2, 2), torch.zeros(2, 77, 3), torch.zeros(2, 4, 2, 2))
    pixels = torch.zeros(1, 3, 4, 4)
    pixels[..., 0], pixels[..., 1] = 1.5, 1.03  # far beyond white, and by less than 5 levels
    chart = symptoms.Chart(torch.zeros(77, 3), [call], [torch.ones(1, 4, 2, 2)], [pixels])
    assert symptoms.signs(chart)["cut off, %"] == pytest.approx(25)
    count = len(symptoms.CAUSES)
    rounds = [[symptoms.hidden_cause(k * count + n) for n in range(1, count + 1)] for k in range(3)]
    assert all(set(each) == set(symptoms.CAUSES) for each in rounds) and rounds[0] != rounds[1] != rounds[2]


def test_steering_the_arc_of_a_small_angle_and_the_ends_of_an_interval():
    one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[np.cos(0.09), np.sin(0.09)]], dtype=torch.float32)
    assert float(steering.slerp(one, other, 0.5).norm()) == pytest.approx(1, abs=1e-5)
    part = steering.Steering(interval=(1.0, 5.0))
    assert [part.guides(sigma) for sigma in (1.0, 1.01, 5.0, 5.01)] == [False, True, True, False]
    assert not steering.Steering(interval=(0, 15)).guides(20) and not steering.Steering(interval=(0, 15)).guides()


def test_latents_floats_of_0_to_255_are_refused(toy):
    with pytest.raises(BadInput, match="far beyond"):
        latents.encode(toy.vae, torch.full((1, 3, 48, 48), 255.0))


def test_samplers_the_error_is_a_share_of_the_truth_and_negative_words_are_named(tiny):
    assert samplers.error(torch.tensor([3.0]), torch.tensor([2.0])) == pytest.approx(0.5)
    with pytest.warns(tokens.UnknownWordsWarning, match='"zebra"'):
        samplers.Denoiser(tiny, "a horse", "a zebra").embeddings  # noqa: B018


def test_decoding_each_picture_tells_its_own_negative_prompt(toy):
    run = guidance.resolve_settings(toy, ["a horse", "the moon"], ["no sea", "no snow"])
    told = [decoding.about_picture(toy, run, 42, number) for number in range(2)]
    assert [(each["prompt"], each["negative_prompt"]) for each in told] == [
        ("a horse", "no sea"),
        ("the moon", "no snow"),
    ]


def test_decoding_what_fails_while_it_is_written_leaves_the_old_file(toy, tmp_path, monkeypatch):
    picture, file, trace = Image.new("RGB", (8, 8)), tmp_path / "a.png", record(toy, "moon", num_inference_steps=1)
    other = decoding.save_trace(trace, tmp_path / "trace.safetensors")
    before = decoding.save_png(picture, file).read_bytes(), other.read_bytes()

    def fails(self, stream, **_):
        stream.write(b"half")
        raise RuntimeError("halfway")

    monkeypatch.setattr(Image.Image, "save", fails)
    monkeypatch.setattr("safetensors.torch.save", lambda *_: (_ for _ in ()).throw(RuntimeError("halfway")))
    for write in (lambda: decoding.save_png(picture, file), lambda: decoding.save_trace(trace, other)):
        with pytest.raises(RuntimeError, match="halfway"):
            write()
    assert (file.read_bytes(), other.read_bytes()) == before
    assert {each.name for each in tmp_path.iterdir()} == {"a.png", "trace.safetensors"}


def test_unet_the_last_norm_counts_with_the_last_convolution(toy):
    weighed = unet.weigh(toy.unet)
    last = [*toy.unet.conv_norm_out.parameters(), *toy.unet.conv_out.parameters()]
    assert weighed["conv_out"] == sum(each.numel() for each in last)
    assert weighed["conv_in"] == sum(each.numel() for each in toy.unet.conv_in.parameters())


def test_embeddings_shares_of_a_flat_map_are_of_the_variance():
    cloud = torch.tensor([[3.0, 0, 0], [-3.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0]])
    assert embeddings.flat_map(cloud)[1].tolist() == pytest.approx([0.9, 0.1])


def test_tokens_what_is_not_named_is_counted(tiny):
    words = " ".join(f"zz{chr(97 + k // 26)}{chr(97 + k % 26)}" for k in range(32))
    with pytest.warns(tokens.UnknownWordsWarning, match=" and 2 more: it knows"):
        tokens.warn_of_unknown_words(tiny, [words])


def test_training_the_average_forgets_as_fast_however_seldom_it_is_updated_and_one_step_learns(toy):
    far = 10**6
    assert training.average_decay(0.9, far, 4) == pytest.approx(0.9**4)
    examples = training.Examples(torch.randn(2, 4, 6, 6), torch.randn(2, 77, 24), torch.tensor([0, 1]))
    small = training.small_unet(toy, (16, 16, 16))
    before = [each.clone() for each in small.parameters()]
    for _ in training.train(small, examples, steps=1, batch=2):
        pass
    assert not all(map(torch.equal, before, small.parameters()))


def test_symptoms_the_chart_of_one_picture_has_both_of_its_halves():
    rows = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 4, 2, 2)  # [empty, empty, prompt, prompt]
    seen = torch.cat([torch.arange(2.0).view(2, 1, 1, 1).expand(2, 4, 2, 2)] * 2)
    chart = symptoms.Chart(torch.zeros(77, 3), [symptoms.Call(9.0, seen, torch.zeros(4, 77, 3), rows)],
                           [torch.zeros(2, 4, 2, 2)], [torch.zeros(2, 3, 4, 4)])  # fmt: skip
    assert [chart.of(k).calls[0].guess[:, 0, 0, 0].tolist() for k in range(2)] == [[0, 2], [1, 3]]
