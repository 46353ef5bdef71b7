"""load(): the right parts, and a sentence for every way in which a model can be broken."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import diffusers
import huggingface_hub
import pytest
import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from toy import TOY_SIZE

import sdlesson
from sdlesson.loading.errors import ModelError
from sdlesson.loading.files import check_safetensors


@pytest.fixture
def broken(toy_folder, tmp_path):
    """A copy of the toy that a test may break."""
    return shutil.copytree(toy_folder, tmp_path / "broken")


def tell(folder, file, **changes):
    """Change settings in one of the folder's JSON files; "gone" takes a setting away."""
    config = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps({key: value for key, value in config.items() if value != "gone"}))


def refuses(model, *words, **options):
    """Loading `model` raises a ModelError: one line that holds all `words`."""
    with pytest.raises(ModelError) as caught:
        sdlesson.load(model, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence
    return sentence


def test_import_is_cheap():
    """Seconds of the processor, which a busy machine does not stretch."""
    code = "import time, sys; t = time.process_time(); import sdlesson; t = time.process_time() - t; "
    code += "assert not {'torch', 'numpy', 'diffusers', 'transformers'} & set(sys.modules); print(t)"
    assert min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3)) <= 0.3


def test_rooms_and_names_load_when_asked_for():
    assert sdlesson.sigmas.lms_coefficients is sdlesson.lms_coefficients
    assert {"load", "denoise", "paint", "checkpoint_path", "tokens"} <= set(dir(sdlesson))
    assert all(getattr(sdlesson, name) is not None for name in sdlesson.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sdlesson.nothing


def test_the_parts_are_those_of_the_libraries(toy, toy_folder):
    assert type(toy.tokenizer) is transformers.CLIPTokenizer
    assert type(toy.text_encoder) is transformers.CLIPTextModel
    assert type(toy.unet) is diffusers.UNet2DConditionModel
    assert type(toy.vae) is diffusers.AutoencoderKL
    assert type(toy.scheduler) is diffusers.LMSDiscreteScheduler
    assert (toy.name, toy.device.type, toy.dtype) == (str(toy_folder), "cpu", torch.float32)
    assert toy.size == (TOY_SIZE, TOY_SIZE)
    assert toy.guidance_scale == 8.0  # the article's, where the folder recommends none
    assert not any(part.training for part in (toy.text_encoder, toy.unet, toy.vae))
    assert "48x48 pixels" in repr(toy)


def test_weights_are_those_in_the_files(toy, toy_folder):
    stored = load_file(toy_folder / "unet/diffusion_pytorch_model.safetensors")
    for name, values in toy.unet.state_dict().items():
        torch.testing.assert_close(values, stored[name])


def test_the_default_is_the_environment_then_tiny(toy_folder, monkeypatch):
    monkeypatch.setenv("SDLESSON_MODEL", str(toy_folder))
    assert sdlesson.load().name == str(toy_folder)
    monkeypatch.setenv("SDLESSON_MODEL", "")
    assert sdlesson.models.default_model() == "tiny"


def test_tiny_is_a_whole_small_model(tiny):
    assert tiny.name == "tiny"
    assert tiny.dtype == torch.float32
    assert tiny.size == (128, 128)
    assert 0 < tiny.guidance_scale < 8
    assert tiny.unet.config.cross_attention_dim == tiny.text_encoder.config.hidden_size
    assert sum(file.stat().st_size for file in sdlesson.checkpoint_path().rglob("*") if file.is_file()) <= 32 * 2**20


def test_what_the_folder_recommends(broken):
    (broken / "sdlesson.json").write_text('{"name": "toy", "guidance_scale": 2.5}')
    assert sdlesson.load(broken).guidance_scale == 2.5


def test_float16_files_are_computed_in_float32(broken):
    for file in broken.rglob("*.safetensors"):
        save_file({name: values.half() for name, values in load_file(file).items()}, file, {"format": "pt"})
    config = broken / "text_encoder/config.json"
    config.write_text(config.read_text().replace('"float32"', '"float16"'))
    sd = sdlesson.load(broken)
    for part in (sd.text_encoder, sd.unet, sd.vae):
        assert {values.dtype for values in part.parameters()} == {torch.float32}
    stored = transformers.CLIPTextModel.from_pretrained(broken / "text_encoder")
    assert stored.dtype == torch.float16  # the surprise behind this test: transformers 5 keeps what is stored ...
    assert diffusers.AutoencoderKL.from_pretrained(broken / "vae").dtype == torch.float32  # ... diffusers does not


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16, "torch.bfloat16"])
def test_dtype_can_be_chosen(toy_folder, dtype):
    sd = sdlesson.load(toy_folder, dtype=dtype)
    assert sd.dtype == sd.unet.dtype == sd.vae.dtype == sd.text_encoder.dtype == torch.bfloat16


def test_no_such_dtype_or_device(toy_folder):
    refuses(toy_folder, "float11", dtype="float11")
    refuses(toy_folder, "int64", dtype=torch.int64)
    refuses(toy_folder, "no device 'warp'", device="warp")
    if not torch.cuda.is_available():
        refuses(toy_folder, "no device 'cuda'", device="cuda")


def test_loading_is_quiet_and_leaves_no_trace(toy_folder, capfd, recwarn):
    logs = (diffusers.utils.logging, transformers.utils.logging)
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    state = torch.random.get_rng_state()
    sdlesson.load(toy_folder)
    assert [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs] == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert capfd.readouterr() == ("", "")
    assert [each for each in recwarn if each.category is not DeprecationWarning] == []


def test_the_scheduler_is_always_k_lms(broken):
    """v1.4's own scheduler/scheduler_config.json, as it stands on the hub, is PNDM's."""
    pndm = {"_class_name": "PNDMScheduler", "_diffusers_version": "0.2.2", "skip_prk_steps": True, "clip_sample": False}
    pndm |= {"set_alpha_to_one": False, "steps_offset": 1, "trained_betas": None} | sdlesson.models.ARTICLE_SCHEDULE
    (broken / "scheduler/scheduler_config.json").write_text(json.dumps(pndm))
    with_config = sdlesson.load(broken).scheduler
    shutil.rmtree(broken / "scheduler")
    without = sdlesson.load(broken).scheduler
    for scheduler in (with_config, without):
        assert type(scheduler) is diffusers.LMSDiscreteScheduler
        scheduler.set_timesteps(20)
        torch.testing.assert_close(scheduler.sigmas[:2], torch.tensor([14.6146, 10.7469]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("unet", "the unet's configuration (unet/config.json)"),
        ("vae/config.json", "the vae's configuration (vae/config.json)"),
        ("vae/diffusion_pytorch_model.safetensors", "the vae's weights (vae/diffusion_pytorch_model.safetensors)"),
        ("text_encoder", "the text encoder's configuration"),
        ("text_encoder/model.safetensors", "the text encoder's weights (text_encoder/model.safetensors)"),
        ("tokenizer", "the tokenizer (tokenizer/tokenizer.json"),
    ],
)
def test_a_missing_part_is_named(broken, lost, words):
    path = broken / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    refuses(broken, str(broken), words)


def test_a_folder_that_is_no_model(tmp_path):
    refuses(tmp_path, "the tokenizer", "the text encoder's", "the unet's", "and the vae's")


def test_names_that_lead_nowhere(tmp_path):
    refuses("horse", "no folder horse", "'tiny'", "hub id")
    refuses(tmp_path / "horse", "no folder")
    file = tmp_path / "model.ckpt"
    file.write_bytes(b"")
    refuses(file, "is a file")


def test_a_pickle_is_refused(broken):
    (broken / "unet/diffusion_pytorch_model.safetensors").rename(broken / "unet/diffusion_pytorch_model.bin")
    refuses(broken, "pickle", "diffusion_pytorch_model.bin", "safetensors only")


def test_a_pickle_beside_safetensors_is_left_alone(broken):
    (broken / "unet/diffusion_pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    assert sdlesson.load(broken).unet is not None


def cut(data):
    return data[: len(data) // 2]


def grow(data):
    return data + b"\0" * 7


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "half downloaded"),
        (grow, "should have"),
        (lambda data: b"", "header cannot be read"),
        (lambda data: data[:5], "header cannot be read"),
        (lambda data: b"\xff" * len(data), "header cannot be read"),
        (lambda data: data[:8] + b"#" + data[9:], "header cannot be read"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
    ],
)
@pytest.mark.parametrize("part", ["text_encoder/model", "vae/diffusion_pytorch_model"])
def test_damaged_weights(broken, damage, words, part):
    file = broken / f"{part}.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    refuses(broken, str(file), words)


def test_whole_weights_pass(toy_folder, tmp_path):
    for file in toy_folder.rglob("*.safetensors"):
        check_safetensors(file)
    save_file({"empty": torch.zeros(0)}, tmp_path / "empty.safetensors")
    check_safetensors(tmp_path / "empty.safetensors")


@pytest.mark.parametrize("part", ["text_encoder/model", "unet/diffusion_pytorch_model"])
def test_weights_with_holes(broken, part):
    """Neither library raises for these: what is missing would stay random."""
    file = broken / f"{part}.safetensors"
    weights = load_file(file)
    gone = sorted(weights)[0]
    del weights[gone]
    save_file(weights, file, {"format": "pt"})
    refuses(broken, gone, "missing")


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        ("unet", {"block_out_channels": [16, 40]}, "is (32,) in the file and (40,) by the configuration; so are "),
        ("unet", {"conv_in_kernel": 5}, "conv_in.weight is (16, 4, 3, 3) in the file and (16, 4, 5, 5)"),
        ("vae", {"block_out_channels": [8, 8, 16, 32]}, " in the file and "),
        ("text_encoder", {"intermediate_size": 40}, "fc1.bias is (48,) in the file and (40,)"),
        ("text_encoder", {"num_hidden_layers": 3}, "is missing"),
    ],
)
def test_weights_of_another_size(broken, part, changes, words):
    """The first weight that does not fit is named, with both shapes."""
    tell(broken, f"{part}/config.json", **changes)
    refuses(broken, str(broken / part), words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"time_cond_proj_dim": 256}, "also takes the guidance scale, as latent consistency models do"),
        ({"num_class_embeds": 1000}, "also takes a class or a noise level, as upscalers do"),
        ({"class_embed_type": "projection", "projection_class_embeddings_input_dim": 8}, "as unCLIP models"),
        ({"class_embed_type": "timestep"}, "as unCLIP models and upscalers do (class_embed_type is 'timestep')"),
        ({"addition_embed_type": "text_time", "addition_time_embed_dim": 8}, "as SDXL and Kandinsky do"),
        ({"addition_embed_type": "image_hint"}, "(addition_embed_type is 'image_hint')"),
        ({"encoder_hid_dim_type": "ip_image_proj", "encoder_hid_dim": 24}, "as Kandinsky and IP-Adapter models do"),
        ({"attention_type": "gated"}, "as GLIGEN does"),
        ({"dual_cross_attention": True}, "as Versatile Diffusion does"),
    ],
)
def test_a_unet_with_an_input_that_nobody_feeds(broken, changes, words):
    tell(broken, "unet/config.json", **changes)
    refuses(broken, "another kind of model", words)


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        ("unet", {"in_channels": 9}, "is an inpainting model (it also sees a mask and the masked picture's latents)"),
        ("unet", {"in_channels": 9}, "takes 9 channels and its VAE makes 4"),
        ("unet", {"in_channels": 8}, "such as InstructPix2Pix"),
        ("unet", {"in_channels": 7}, "is an upscaler"),
        ("unet", {"in_channels": 5}, "is a depth model"),
        ("unet", {"in_channels": 16, "out_channels": 16}, "its UNet takes 16 channels, its VAE makes 4"),
        ("unet", {"out_channels": 8}, "gives 8 channels for latents of 4"),
        ("vae", {"latent_channels": 16}, "its UNet takes 4 channels, its VAE makes 16"),
        ("vae", {"latent_channels": 3}, "takes 4 channels and its VAE makes 3"),
        ("vae", {"in_channels": 6, "out_channels": 6}, "pictures of 6 channels (in_channels); sdlesson needs 3"),
        ("vae", {"out_channels": 4}, "pictures of 4 channels (out_channels)"),
        ("vae", {"shift_factor": 0.1159}, "also shifted (shift_factor)"),
        ("vae", {"latents_mean": [0.1, 0.2, 0.3, 0.4]}, "also shifted (latents_mean)"),
        (
            "unet",
            {"cross_attention_dim": 40},
            "of 40 numbers (cross_attention_dim), its text encoder makes them of 24",
        ),
        ("unet", {"cross_attention_dim": [24, 40]}, "vectors of 40 numbers"),
        ("unet", {"encoder_hid_dim_type": "text_proj", "encoder_hid_dim": 4096}, "4096 numbers (encoder_hid_dim)"),
        (
            "text_encoder",
            {"hidden_size": 48},
            "of 24 numbers (cross_attention_dim), its text encoder makes them of 48",
        ),
        (
            "text_encoder",
            {"max_position_embeddings": 32},
            "77 tokens of a text (model_max_length), its text encoder has 32",
        ),
        ("text_encoder", {"vocab_size": 100}, "its text encoder vectors for 100 (vocab_size)"),
    ],
)
def test_parts_that_do_not_fit_each_other(broken, part, changes, words):
    """Told from the configurations alone: no weight is looked at."""
    for file in broken.rglob("*.safetensors"):
        file.write_bytes(b"")
    tell(broken, f"{part}/config.json", **changes)
    refuses(broken, words)


def test_a_tokenizer_that_makes_longer_texts(broken):
    for length in (512, 78):
        tell(broken, "tokenizer/tokenizer_config.json", model_max_length=length)
        refuses(broken, f"makes {length} tokens of a text (model_max_length)", "77 positions")


@pytest.mark.parametrize("told", [10**30, None, "gone"])
def test_a_tokenizer_that_does_not_say_how_long_its_texts_are(broken, toy, told):
    tell(broken, "tokenizer/tokenizer_config.json", model_max_length=told)
    sd = sdlesson.load(broken)
    assert sd.tokenizer.model_max_length == 77
    assert torch.equal(sdlesson.tokenize(sd.tokenizer, "a horse"), sdlesson.tokenize(toy.tokenizer, "a horse"))


@pytest.mark.parametrize("file", ["added_tokens.json", "vocab.json"])
def test_words_without_a_vector(broken, file):
    """A learned word that the text encoder was not made longer for."""
    (broken / "tokenizer" / file).write_text(json.dumps({"<my-cat>": 100_000}))
    refuses(broken, "ids up to 100000", "vectors for")
    (broken / "tokenizer" / file).write_text(json.dumps({"<my-cat>": "last"}))
    refuses(broken, "must give each piece a whole number")


V_DDIM = {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"}
PNDM = {"_class_name": "PNDMScheduler", "skip_prk_steps": True} | sdlesson.models.ARTICLE_SCHEDULE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
            "pure noise",
        ),
        ({"_class_name": "EulerDiscreteScheduler", "rescale_betas_zero_snr": True}, "pure noise"),
        ({"trained_betas": [0.001, 0.01, 1.0]}, "out of range"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}, "that of FlowMatchEulerDiscreteScheduler"),
        ({"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True}, "flow matching"),
        ({"prediction_type": "flow_prediction"}, "'flow_prediction'"),
        ({"_class_name": "EDMEulerScheduler", "sigma_max": 80.0}, "that of EDMEulerScheduler"),
        ({"_class_name": "EDMDPMSolverMultistepScheduler"}, "that of EDMDPMSolverMultistepScheduler"),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous"}, "timesteps are noise levels"),
        ({"_class_name": "LCMScheduler"}, "that of LCMScheduler"),
        ({"_class_name": "NobodysScheduler"}, "that of NobodysScheduler"),
        ({"_class_name": ["a", "list"]}, "that of ['a', 'list']"),
        ({"beta_start": "gone"}, "betas are missing"),
        ({"beta_end": "0.012"}, "betas are missing or out of range"),
        ({"beta_schedule": "sigmoid"}, "betas are missing or out of range"),
        ({"num_train_timesteps": 0}, "betas are missing or out of range"),
    ],
)
def test_a_noise_schedule_that_k_lms_cannot_have(broken, changes, words):
    """It is not replaced in silence."""
    (broken / "scheduler/scheduler_config.json").write_text(json.dumps(PNDM))
    sdlesson.models.find(str(broken))  # as it is, it may be loaded
    tell(broken, "scheduler/scheduler_config.json", **changes)
    refuses(broken, "noise schedule that K-LMS cannot have", words)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("betas", [{}, {"beta_schedule": "linear"}, {"trained_betas": [0.001, 0.01, 0.02]}])
def test_other_betas_are_taken_over(broken, prediction, betas):
    (broken / "scheduler/scheduler_config.json").write_text(json.dumps(PNDM | betas | {"prediction_type": prediction}))
    ours = sdlesson.load(broken).scheduler
    theirs = diffusers.LMSDiscreteScheduler(
        **sdlesson.models.ARTICLE_SCHEDULE | betas | {"prediction_type": prediction}
    )
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod) and ours.config.prediction_type == prediction


def test_a_unet_that_does_not_say_its_size(broken):
    tell(broken, "unet/config.json", sample_size=None)
    sd = sdlesson.load(broken)
    assert sd.size == (TOY_SIZE, TOY_SIZE) and "48x48 pixels" in repr(sd)  # as the VAE says
    for untold in (None, "gone"):
        tell(broken, "vae/config.json", sample_size=untold)
        assert sdlesson.load(broken).size == (512, 512)  # v1's
    tell(broken, "unet/config.json", sample_size=[8, 6])
    assert sdlesson.load(broken).size == (64, 48)
    sd.unet.register_to_config(sample_size=None)
    assert "512x512 pixels" in repr(sd)


@pytest.mark.parametrize(
    ("file", "key", "values"),
    [
        ("unet/config.json", "sample_size", ["x", 0, -8, 6.5, True, [6], [6, "x"], {}]),
        ("vae/config.json", "scaling_factor", ["x", None, 0, -0.18, True, float("nan"), float("inf"), [0.18]]),
        ("vae/config.json", "latent_channels", ["4", None, 0, 4.0, True]),
        ("unet/config.json", "in_channels", ["4", None, -4, [4]]),
        ("text_encoder/config.json", "hidden_size", ["24", None, 0]),
        ("text_encoder/config.json", "num_attention_heads", ["3", None, -1]),
        ("unet/config.json", "freq_shift", [None, "x", [], {}, [["x"]]]),
        ("unet/config.json", "norm_eps", [None, "x", -1]),
        ("unet/config.json", "layers_per_block", [None, -1, "1", [1, -1]]),
        ("vae/config.json", "norm_num_groups", [None, -1, True]),
        ("tokenizer/tokenizer_config.json", "model_max_length", ["77", -1, 0, True, [77]]),
        ("sdlesson.json", "guidance_scale", [None, "abc", "3", True, float("nan"), float("inf"), [3]]),
    ],
)
def test_settings_that_are_no_numbers(broken, file, key, values):
    if file == "sdlesson.json":
        (broken / file).write_text("{}")
    for value in values:
        tell(broken, file, **{key: value})
        refuses(broken, file, f"{key} {value!r}", "must be a")


def test_settings_of_the_text_that_are_missing(broken):
    for token in ("pad_token", "bos_token", "eos_token"):
        tell(broken, "tokenizer/tokenizer_config.json", **{token: None})
        refuses(broken, f"has no {token}")
        tell(broken, "tokenizer/tokenizer_config.json", **{token: "<|endoftext|>"})
    for changes in ({"eos_token_id": None}, {"eos_token_id": [2]}, {"layer_norm_eps": None}):
        shutil.copy(broken / "text_encoder/config.json", broken / "good.json")
        tell(broken, "text_encoder/config.json", **changes)
        refuses(broken, "text_encoder/config.json must give")
        shutil.move(broken / "good.json", broken / "text_encoder/config.json")
    assert sdlesson.load(broken).tokenizer.pad_token_id is not None


def test_what_a_configuration_may_not_choose(broken, toy):
    """No code by name: transformers would fetch an attention kernel from the hub; nor another kind of answer."""
    tell(broken, "text_encoder/config.json", attn_implementation="nobody/kernel", _attn_implementation="nobody/kernel")
    tell(
        broken, "text_encoder/config.json", return_dict=False, output_hidden_states=True, auto_map={"AutoModel": "x.Y"}
    )
    tell(broken, "unet/config.json", _use_default_values=["block_out_channels"])
    sd = sdlesson.load(broken)
    assert sd.text_encoder.config._attn_implementation == toy.text_encoder.config._attn_implementation
    ids = sdlesson.tokenize(sd.tokenizer, "a horse")
    assert torch.equal(sdlesson.embed(sd.text_encoder, ids), sdlesson.embed(toy.text_encoder, ids))


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("text_encoder/config.json", {"num_hidden_layers": "two"}, "'num_hidden_layers' expected int, got str"),
        ("text_encoder/config.json", {"num_attention_heads": 5}, "not a multiple of the number of attention heads"),
        ("unet/config.json", {"norm_num_groups": 7}, "must be divisible by num_groups"),
        ("unet/config.json", {"down_block_types": ["NobodysBlock", "DownBlock2D"]}, "NobodysBlock does not exist"),
        ("vae/config.json", {"act_fn": "nobodys"}, "nobodys"),
    ],
)
def test_what_a_library_says_is_passed_on(broken, file, changes, words):
    """The line that says it, not the heading above it."""
    tell(broken, file, **changes)
    sentence = refuses(broken, "cannot be loaded: ", words)
    assert not sentence.endswith(":")


MARK = "\ufeff"
DEEP = ["[" * 100_000, '{"a":' * 100_000]


@pytest.mark.parametrize(
    "files",
    [
        ["unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json"],
        ["tokenizer/tokenizer_config.json"],
        ["tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json", "unet/config.json"],
    ],
)
def test_json_with_a_byte_order_mark(broken, toy, files):
    """As editors on Windows write it."""
    for file in files:
        (broken / file).write_text(MARK + (broken / file).read_text())
    sd = sdlesson.load(broken)
    assert sd.size == toy.size and sd.tokenizer.get_vocab() == toy.tokenizer.get_vocab()
    assert torch.equal(sdlesson.tokenize(sd.tokenizer, "a horse"), sdlesson.tokenize(toy.tokenizer, "a horse"))
    assert (broken / files[0]).read_text().startswith(MARK)  # left as it was


@pytest.mark.parametrize("file", ["unet/config.json", "tokenizer/tokenizer.json", "scheduler/scheduler_config.json"])
@pytest.mark.parametrize("text", [DEEP[0], DEEP[1], "[1, 2]", "null", "<html>log in</html>", ""], ids=range(6))
def test_json_that_is_none(broken, file, text):
    (broken / file).write_text(text)
    refuses(broken, file, "cannot be read as JSON")


def test_configurations_that_are_not_what_we_need(broken):
    config = broken / "unet/config.json"
    good = config.read_text()
    config.write_text("{")
    refuses(broken, str(config), "JSON")
    config.write_text(json.dumps(json.loads(good) | {"_class_name": "UNet2DModel"}))
    refuses(broken, "UNet2DModel", "UNet2DConditionModel")
    config.write_text(good)
    text = broken / "text_encoder/config.json"
    told = json.loads(text.read_text())
    text.write_text(json.dumps(told | {"model_type": "t5"}))
    refuses(broken, "a t5", "clip_text_model")
    text.write_text(json.dumps(told))
    shutil.copytree(broken / "text_encoder", broken / "text_encoder_2")
    refuses(broken, "two text encoders")


def test_files_as_old_as_v1_4(toy, broken):
    """v1.4 was saved in 2022: vocab.json and merges.txt, other names of weights, no dtype, other special ids."""
    written = json.loads((broken / "tokenizer/tokenizer.json").read_text())["model"]
    (broken / "tokenizer/vocab.json").write_text(json.dumps(written["vocab"]))
    merges = "\n".join(pair if isinstance(pair, str) else " ".join(pair) for pair in written["merges"])
    (broken / "tokenizer/merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    (broken / "tokenizer/tokenizer.json").unlink()

    config = json.loads((broken / "text_encoder/config.json").read_text())
    del config["dtype"]
    config |= {"torch_dtype": "float32", "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "dropout": 0.0}
    (broken / "text_encoder/config.json").write_text(json.dumps(config))
    file = broken / "text_encoder/model.safetensors"
    weights = {f"text_model.{name}": values for name, values in load_file(file).items()}
    save_file(weights | {"text_model.embeddings.position_ids": torch.arange(77)[None]}, file, {"format": "pt"})

    file = broken / "vae/diffusion_pytorch_model.safetensors"
    renamed = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(file)
    for new, old in renamed.items():
        weights = {name.replace(new, old): values for name, values in weights.items()}
    save_file(weights, file, {"format": "pt"})

    old = sdlesson.load(broken)
    ours, theirs = (sdlesson.paint("an astronaut", model=sd, num_inference_steps=2)[0] for sd in (toy, old))
    assert ours.tobytes() == theirs.tobytes()


def test_weights_in_pieces(broken):
    file = broken / "unet/diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    file.unlink()
    names = sorted(weights)
    pieces = {f"diffusion_pytorch_model-0000{n}-of-00002.safetensors": names[n - 1 :: 2] for n in (1, 2)}
    for piece, inside in pieces.items():
        save_file({name: weights[name] for name in inside}, file.with_name(piece), {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: piece for piece, inside in pieces.items() for name in inside}}
    file.with_name(file.name + ".index.json").write_text(json.dumps(index))
    assert sdlesson.load(broken).unet is not None
    file.with_name(min(pieces)).unlink()
    refuses(broken, "a piece of the unet's weights", min(pieces))


@pytest.mark.parametrize("variant", ["fp16", "bf16"])
@pytest.mark.parametrize("parts", [["unet"], ["unet", "vae", "text_encoder"]])
def test_weights_in_16_bits_only(broken, variant, parts):
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[variant]
    for part in parts:
        (file,) = (broken / part).glob("*.safetensors")
        weights = {name: values.to(dtype) for name, values in load_file(file).items()}
        save_file(weights, file.with_suffix(f".{variant}.safetensors"), {"format": "pt"})
        file.unlink()
    sd = sdlesson.load(broken)
    assert sd.unet.dtype == torch.float32
    assert all(torch.equal(values, values.to(dtype).float()) for values in sd.unet.parameters())
    shutil.rmtree(broken / "unet")
    refuses(broken, "the unet's configuration")


def test_whole_weights_go_before_those_in_16_bits(broken, toy):
    file = broken / "unet/diffusion_pytorch_model.safetensors"
    for variant in ("fp16", "bf16"):
        save_file({"nothing": torch.zeros(1)}, file.with_suffix(f".{variant}.safetensors"))
    assert torch.equal(sdlesson.load(broken).unet.conv_in.weight, toy.unet.conv_in.weight)


@pytest.mark.parametrize("index", ["safetensors.index.fp16.json", "safetensors.index.json"])
def test_pieces_in_16_bits(broken, index):
    file = broken / "unet/diffusion_pytorch_model.safetensors"
    names = sorted(weights := load_file(file))
    file.unlink()
    pieces = {f"diffusion_pytorch_model.fp16-0000{n}-of-00002.safetensors": names[n - 1 :: 2] for n in (1, 2)}
    for piece, inside in pieces.items():
        save_file({name: weights[name].half() for name in inside}, file.with_name(piece), {"format": "pt"})
    where = {name: piece for piece, inside in pieces.items() for name in inside}
    file.with_name(f"diffusion_pytorch_model.{index}").write_text(json.dumps({"weight_map": where}))
    assert torch.equal(sdlesson.load(broken).unet.conv_in.weight, weights["conv_in.weight"].half().float())


@pytest.mark.parametrize(
    "pieces",
    [
        None,
        "gone",
        [],
        {},
        ["a.safetensors"],
        {"a": None},
        {"a": ["b.safetensors"]},
        {"a": "../vae/diffusion_pytorch_model.safetensors"},
        {"a": "../../secret.safetensors"},
        {"a": "{outside}"},
        {"a": "..\\secret.safetensors"},
        {"a": "config.json"},
        {"a": ".."},
        {"a": ""},
        {"a": "b\0.safetensors"},
    ],
)
def test_an_index_that_leads_elsewhere(broken, tmp_path, monkeypatch, pieces):
    """Its pieces are files beside it: nothing else is opened."""
    secret = tmp_path / "secret.safetensors"
    shutil.move(broken / "unet/diffusion_pytorch_model.safetensors", secret)
    if isinstance(pieces, dict) and "{outside}" in pieces.values():
        pieces = {"a": str(secret)}
    index = "unet/diffusion_pytorch_model.safetensors.index.json"
    (broken / index).write_text("{}")
    tell(broken, index, weight_map=pieces)
    opened = []
    monkeypatch.setattr("sdlesson.loading.folders.check_safetensors", opened.append)
    refuses(broken, index, "must say in weight_map which safetensors file beside it holds each weight")
    assert not [file for file in opened if "unet" in str(file) or "secret" in str(file)]


def test_a_header_that_is_too_long(tmp_path, monkeypatch):
    """safetensors itself reads 100 MB of header: more would take a minute and gigabytes, and is not read here."""
    file, length = tmp_path / "a.safetensors", 100_000_001
    with open(file, "wb") as stream:
        stream.write(length.to_bytes(8, "little") + b"{")
        stream.truncate(8 + length)  # a hole: it takes no space
    monkeypatch.setattr("json.loads", lambda *_: pytest.fail("it was read"))
    with pytest.raises(ModelError, match="has a header of 100000001 bytes; safetensors reads 100000000 at most"):
        check_safetensors(file)
    with pytest.raises(SafetensorError, match="(?i)header.?too.?large"):  # the limit is still theirs
        safe_open(file, framework="pt")


@pytest.mark.parametrize(
    "header",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a": {"data_offsets": [0, "4"]}}',
        '{"a": {"data_offsets": [0]}}',
        '{"a": 3}',
        "7",
    ],
)
def test_headers_of_the_wrong_shape(tmp_path, header):
    file = tmp_path / "a.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(ModelError, match="its header cannot be read"):
        check_safetensors(file)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("~nobody-here", "no folder ~nobody-here"),
        ("~nobody-here/model", "no folder ~nobody-here/model"),
        ("a" * 300, "no folder aaa"),
        ("a/" + "b" * 300, "no folder a/bbb"),
        ("a" * 97 + "/b", "no folder aaa"),
        ("a/..", "no folder a/.."),
        ("a--b/c..d", "no hub id"),
        ("a--b/c", "no hub id"),
        ("a/b.git", "no hub id"),
        ("a/.b", "no hub id"),
        ("a/b/c", "no folder a/b/c"),
        ("two\nlines", r"no folder two\nlines"),
        ("org/model\n", r"no folder org/model\n"),
        ("nul\0", r"no folder nul\x00"),
        ("half \udce4", r"no folder half \udce4"),
    ],
)
def test_names_that_the_system_or_the_hub_refuses(cache, monkeypatch, name, words):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    refuses(name, words).encode()


@pytest.mark.parametrize("name", [3, b"tiny", True, ["tiny"], 2.5])
def test_names_that_are_none(name):
    refuses(name, "named by a text or a path")


@pytest.mark.parametrize("revision", ["../../../x", "a/../b", "..", "/etc", "a\nb", 3, "a b"])
def test_revisions_that_are_none(cache, revision):
    refuses("org/model", "no revision", revision=revision)


def test_a_folder_that_is_closed(broken, monkeypatch):
    def closed(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", closed)
    refuses(broken, str(broken), "cannot be read: Permission denied")
    monkeypatch.setattr(Path, "is_dir", closed)
    refuses(broken, str(broken), "can be read: Permission denied")


def test_a_file_that_is_closed(broken, monkeypatch):
    read = Path.read_text

    def closed(self, *args, **kwargs):
        if self.parent.name == "vae":
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", closed)
    refuses(broken, "vae/config.json cannot be read: Permission denied")


@pytest.mark.parametrize("device", [True, False, 2.5, ["cpu"], "cpu:x", "warp:0"])
def test_devices_that_are_none(toy_folder, device):
    refuses(toy_folder, repr(device).strip("'") if device != True else "True", device=device)  # noqa: E712


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, "float8_e5m2", "bool", torch.complex64, "Tensor", 32])
def test_dtypes_that_nothing_is_computed_in(toy_folder, dtype):
    refuses(toy_folder, "no dtype to compute in; take float32", dtype=dtype)


@pytest.mark.parametrize("low_memory", ["yes", None, "", 2])
def test_low_memory_that_is_neither_yes_nor_no(toy_folder, low_memory):
    refuses(toy_folder, "low_memory", low_memory=low_memory)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache; the hub itself cannot be reached."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def unreachable(*_, **__):
        raise ConnectionError("no route to host\nand more lines")

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", unreachable)
    return tmp_path / "cache"


def in_cache(cache, folder, commit="0" * 40):
    """Put a model into the hub's cache as org/model."""
    home = cache / "models--org--model"
    shutil.copytree(folder, home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs/main").write_text(commit)
    return home / "snapshots" / commit


def test_a_cached_hub_id_needs_no_network(cache, toy_folder):
    folder = in_cache(cache, toy_folder)
    sd = sdlesson.load("org/model")
    assert (sd.name, sd.folder) == ("org/model", folder)
    assert sdlesson.load("org/model", revision="0" * 40).folder == folder


def test_offline_and_not_cached(cache, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it asked the network"))
    refuses("org/model", "org/model", "cache", "HF_HUB_OFFLINE")


def test_no_network_and_not_cached(cache, toy_folder, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    refuses("org/model", "cannot be reached", "cache")
    (in_cache(cache, toy_folder) / "vae/diffusion_pytorch_model.safetensors").unlink()  # half downloaded
    refuses("org/model", "cannot be reached", "cache")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("RepositoryNotFoundError", "no such model"),
        ("RevisionNotFoundError", "no revision 'wrong'"),
        ("GatedRepoError", "licence"),
    ],
)
def test_what_the_hub_refuses(cache, monkeypatch, error, words):
    kind = getattr(huggingface_hub.errors, error)

    def refused(*_, **__):
        raise kind.__new__(kind)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", refused)
    refuses("org/model", words, revision="wrong")


def test_a_hub_that_says_nothing_is_not_waited_for(tmp_path, monkeypatch):
    """A server that takes the connection and never answers, as broken proxies do."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(sdlesson.models, "_HUB_SECONDS", 0.5)
        start = time.perf_counter()
        refuses("org/model", "cannot be reached")
        assert time.perf_counter() - start < 30


def test_a_small_model_takes_one_thread_and_a_big_one_all(toy_folder):
    """In a process of its own: the threads are the process's."""
    code = f"""
import torch
from sdlesson import models
before = torch.get_num_threads()
models.load({str(toy_folder)!r}, device="cpu")
assert (before, torch.get_num_threads()) == (2, 1)
torch.set_num_threads(2)  # whoever sets it himself keeps it
models.load({str(toy_folder)!r}, device="cpu")
assert torch.get_num_threads() == 2
torch.set_num_threads(1)
models._BIG = 0
models.load({str(toy_folder)!r}, device="cpu", engine="torch")
models._BIG = 2**40
models.load({str(toy_folder)!r}, device="cpu")
assert torch.get_num_threads() == 2
"""
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-600:]


def test_more_layers_than_tensors_are_refused_before_they_are_built(broken):
    for part, key in (("text_encoder", "num_hidden_layers"), ("unet", "layers_per_block"), ("vae", "layers_per_block")):
        before = (broken / part / "config.json").read_text()
        tell(broken, f"{part}/config.json", **{key: 10**9})
        refuses(broken, f"{key} 1000000000", "tensors in its files")
        (broken / part / "config.json").write_text(before)


def test_odd_json_of_others_is_one_sentence(broken):
    tell(broken, "tokenizer/tokenizer.json", added_tokens=5)
    refuses(broken, "its vocabulary must give each piece a whole number")


def test_a_number_beyond_all_floats_is_none(broken):
    (broken / "sdlesson.json").write_text('{"guidance_scale": 1' + "0" * 400 + "}")
    refuses(broken, "guidance_scale", "must be a")
