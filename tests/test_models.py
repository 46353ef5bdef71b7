"""load(): the right parts, and a sentence for every way in which a model can be broken."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time

import diffusers
import huggingface_hub
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from toy import TOY_SIZE

import sdlesson
from sdlesson.loading.files import check_safetensors
from sdlesson.models import ModelError


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
        ("unet", {"layers_per_block": 2, "block_out_channels": [16, 40]}, "mid_block"),
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


def test_offline_and_not_cached(cache):
    start = time.perf_counter()
    refuses("org/model", "org/model", "cache", "HF_HUB_OFFLINE")
    assert time.perf_counter() - start < 5


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
