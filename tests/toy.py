"""A toy Stable Diffusion with random weights, other in every size than the tiny one, and the peer's pipeline."""

from __future__ import annotations

import json

#: The toy's differences from the tiny model: if something is true of the tiny model only, the toy shows it.
TOY_SCALING = 0.37
TOY_SAMPLE = 6  # latents 6 x 6: no power of 2
TOY_SIZE = 48

#: The article's, written out: the tests do not ask the package that they test.
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


def toy_tokenizer(words=("astronaut", "photograph", "riding", "horse", "cartoon", "moon", "of", "an", "on", "the")):
    """A CLIP tokenizer with CLIP's order of the vocabulary: bytes, bytes at a word's end, merges, start, end."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    merges = []
    for word in words:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces[:2] = ["".join(pieces[:2])]
    merges = list(dict.fromkeys(merges))
    vocabulary = letters + [letter + "</w>" for letter in letters] + ["".join(pair) for pair in merges]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    ids = {piece: number for number, piece in enumerate(dict.fromkeys(vocabulary))}
    return CLIPTokenizer(vocab=ids, merges=merges, model_max_length=77)


def write_toy(folder, *, prediction_type="epsilon", seed=0):
    """Write a Stable Diffusion with random weights into `folder`, in Diffusers layout; returns `folder`."""
    import torch
    from diffusers import AutoencoderKL, LMSDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = toy_tokenizer()
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=24,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=3,
                bos_token_id=start,
                eos_token_id=end,
                pad_token_id=end,
            )
        )
        unet = UNet2DConditionModel(
            sample_size=TOY_SAMPLE,
            layers_per_block=1,
            block_out_channels=(16, 32),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=24,
            attention_head_dim=2,
            norm_num_groups=8,
        )
        vae = AutoencoderKL(
            block_out_channels=(8, 8, 16, 16),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
            scaling_factor=TOY_SCALING,
            sample_size=TOY_SIZE,
        )
    scheduler = LMSDiscreteScheduler(**SCHEDULE, prediction_type=prediction_type)
    parts = {"tokenizer": tokenizer, "text_encoder": text, "unet": unet, "vae": vae, "scheduler": scheduler}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    _write_index(folder, parts)
    return folder


def _write_index(folder, parts):
    """model_index.json: what StableDiffusionPipeline reads first."""
    library = {"tokenizer": "transformers", "text_encoder": "transformers"}
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1"}
    index |= {name: [library.get(name, "diffusers"), type(part).__name__] for name, part in parts.items()}
    index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    (folder / "model_index.json").write_text(json.dumps(index))


def make_pipeline(folder):
    """StableDiffusionPipeline as someone without sdlesson would set it up; it loads the parts by itself."""
    from diffusers import LMSDiscreteScheduler, StableDiffusionPipeline

    scheduler = LMSDiscreteScheduler(**SCHEDULE)
    pipe = StableDiffusionPipeline.from_pretrained(folder, scheduler=scheduler, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe
