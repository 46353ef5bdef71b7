"""What every door checks: each public function is given what does not belong there, and says so in one sentence."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sdlesson
from sdlesson import BadInput, attention, guidance, latents, samplers, sigmas, steering, symptoms
from sdlesson.guidance import Steering

PROMPT = "a photograph of an astronaut riding a horse"

#: What a learner may hold in the hand where something else belongs.
ODD = {
    "None": None,
    "True": True,
    "text": "x",
    "bytes": b"7",
    "empty list": [],
    "list of None": [None],
    "ragged list": [[1.0], [2.0, 3.0]],
    "dict": {"a": 1},
    "object": object(),
    "NaN": math.nan,
    "-1": -1,
    "2.5": 2.5,
    "array": np.zeros(3),
    "array of texts": np.array(["a"]),
    "empty tensor": torch.zeros(0),
    "complex tensor": torch.zeros(1, 4, 6, 6, dtype=torch.complex64),
    "boolean tensor": torch.ones(1, 4, 6, 6, dtype=torch.bool),
    "tensor of five sides": torch.zeros(1, 1, 4, 6, 6),
    "picture": Image.new("RGB", (5, 7)),
    "path": Path("x"),
}


def picture(mode="RGB", size=(48, 48), colour=None):
    return Image.new(mode, size, colour) if colour is not None else Image.new(mode, size)


def doors(toy, tmp_path):
    """Every argument of the public functions that a learner fills in: name -> a call with that argument left open."""
    few, x, noise = {"num_inference_steps": 1}, torch.zeros(1, 4, 6, 6), torch.Generator().manual_seed(0)
    run = guidance.record(toy, PROMPT, **few)

    def denoised(**options):
        return list(guidance.denoise(toy, PROMPT, **(few | options)))

    def painted(how, **options):
        return how(toy, PROMPT, **({"picture": picture()} | few | options))

    held = {"mask": torch.ones(48, 48)}
    return {
        "tokenize tokenizer": lambda odd: sdlesson.tokenize(odd, PROMPT),
        "tokenize prompt": lambda odd: sdlesson.tokenize(toy.tokenizer, odd),
        "embed encoder": lambda odd: sdlesson.embed(odd, run.ids),
        "embed ids": lambda odd: sdlesson.embed(toy.text_encoder, odd),
        "text_embeddings sd": lambda odd: sdlesson.text_embeddings(odd, PROMPT),
        "text_embeddings prompt": lambda odd: sdlesson.text_embeddings(toy, odd),
        "text_embeddings negative": lambda odd: sdlesson.text_embeddings(toy, PROMPT, odd),
        "encode vae": lambda odd: sdlesson.encode(odd, picture()),
        "encode picture": lambda odd: sdlesson.encode(toy.vae, odd),
        "initial_noise batch": lambda odd: sdlesson.initial_noise(odd, 48, 48, generator=noise),
        "initial_noise height": lambda odd: sdlesson.initial_noise(1, odd, 48, generator=noise),
        "initial_noise generator": lambda odd: sdlesson.initial_noise(1, 48, 48, generator=odd),
        "initial_noise channels": lambda odd: sdlesson.initial_noise(1, 48, 48, generator=noise, channels=odd),
        "initial_noise factor": lambda odd: sdlesson.initial_noise(1, 48, 48, generator=noise, factor=odd),
        "lms_coefficients sigmas": lambda odd: sdlesson.lms_coefficients(odd, 0),
        "lms_coefficients i": lambda odd: sdlesson.lms_coefficients([3, 2, 1, 0], odd),
        "lms_coefficients order": lambda odd: sdlesson.lms_coefficients([3, 2, 1, 0], 1, odd),
        "decode vae": lambda odd: sdlesson.decode(odd, x),
        "decode latents": lambda odd: sdlesson.decode(toy.vae, odd),
        "paint prompt": lambda odd: sdlesson.paint(odd, model=toy, **few),
        "to_pil": sdlesson.to_pil,
        "save_png picture": lambda odd: sdlesson.save_png(odd, tmp_path / "a.png"),
        "save_png path": lambda odd: sdlesson.save_png(
            picture(), odd if not isinstance(odd, str | bytes | Path) else "\0"
        ),
        "save_trace trace": lambda odd: sdlesson.save_trace(odd, tmp_path / "t"),
        "save_trace path": lambda odd: sdlesson.save_trace(
            run, odd if not isinstance(odd, str | bytes | Path) else "\0"
        ),
        "read_trace": sdlesson.read_trace,
        "record sd": lambda odd: sdlesson.record(odd, PROMPT),
        "record seed": lambda odd: sdlesson.record(toy, PROMPT, seed=odd, **few),
        "record text_embeddings": lambda odd: sdlesson.record(toy, PROMPT, text_embeddings=odd, **few),
        "denoise sd": lambda odd: list(sdlesson.denoise(odd, PROMPT)),
        **{
            f"denoise {name}": lambda odd, name=name: denoised(**{name: odd})
            for name in (
                *("negative_prompt", "num_inference_steps", "guidance_scale", "height", "width", "seed", "generator"),
                *("latents", "text_embeddings", "start", "steering", "order"),
            )
        },
        "img2img picture": lambda odd: painted(steering.img2img, picture=odd),
        "img2img strength": lambda odd: painted(steering.img2img, strength=odd),
        "img2img seed": lambda odd: painted(steering.img2img, seed=odd),
        "inpaint picture": lambda odd: painted(steering.inpaint, picture=odd, **held),
        "inpaint mask": lambda odd: painted(steering.inpaint, mask=odd),
        "inpaint steering": lambda odd: painted(steering.inpaint, steering=odd, **held),
        "inpaint generator": lambda odd: painted(steering.inpaint, generator=odd, **held),
        "Steering change": lambda odd: Steering(change=odd),
        "Steering loss": lambda odd: Steering(loss=odd),
        "Steering interval": lambda odd: Steering(interval=odd),
        "change gives": lambda odd: denoised(steering=Steering(change=lambda x, sigma: odd)),
        "loss gives": lambda odd: denoised(steering=Steering(loss=lambda x: odd)),
        "noised noise": lambda odd: steering.noised(toy, x, odd, 1, 3),
        "slerp": lambda odd: steering.slerp(x, odd, 0.5),
        "auc heat": lambda odd: attention.auc(odd, np.eye(6)),
        "auc mask": lambda odd: attention.auc(torch.rand(6, 6), odd),
        "iou": lambda odd: attention.iou(np.eye(6), odd),
        "hottest": lambda odd: attention.hottest(torch.rand(6, 6), odd),
        "fall_ill seeds": lambda odd: symptoms.fall_ill(toy, PROMPT, seeds=odd, num_inference_steps=1),
        "fall_ill steps": lambda odd: symptoms.fall_ill(toy, PROMPT, num_inference_steps=odd),
        "hidden_cause": symptoms.hidden_cause,
        "betas start": lambda odd: sigmas.betas(odd),
        "betas steps": lambda odd: sigmas.betas(num_train_timesteps=odd),
        "alphas_cumprod": sigmas.alphas_cumprod,
        "training_sigmas": sigmas.training_sigmas,
        "schedule steps": sigmas.schedule,
        "schedule sigmas": lambda odd: sigmas.schedule(5, odd),
        "timestep_of": samplers.timestep_of,
        "karras steps": samplers.karras_sigmas,
        "karras rho": lambda odd: samplers.karras_sigmas(5, rho=odd),
        "sampler sigmas": lambda odd: samplers.end(samplers.euler(lambda x, sigma: x / 2, torch.ones(1), odd)),
        "sampler order": lambda odd: samplers.end(samplers.lms(lambda x, sigma: x / 2, torch.ones(1), [3, 2, 0], odd)),
        "first_step": lambda odd: steering.first_step(0.5, odd),
        "psnr": lambda odd: latents.psnr(torch.zeros(1, 3, 8, 8), odd),
        "preview": lambda odd: latents.preview(odd, torch.zeros(5, 3)),
    }


@pytest.fixture(scope="module")
def all_doors(toy, tmp_path_factory):
    return doors(toy, tmp_path_factory.mktemp("doors"))


def test_no_door_lets_a_stranger_in_to_fall(all_doors):
    """Whatever is given: a result, or BadInput; never an exception from the depths, never half a sentence."""
    fell, refused = [], 0
    for name, door in all_doors.items():
        for kind, odd in ODD.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    door(odd)
                except BadInput as bad:
                    refused += 1
                    if len(str(bad)) <= 20 or "\n" in str(bad):
                        fell.append((name, kind, str(bad)))
                except Exception as error:
                    fell.append((name, kind, repr(error)))
    assert fell == []
    assert refused > 1400
