"""The parts of one Stable Diffusion, tiny or real: found, checked, and loaded from safetensors only."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, LMSDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

#: The article's K-LMS, as Stable Diffusion was trained: also v1.4's scheduler/scheduler_config.json.
ARTICLE_SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
ARTICLE_GUIDANCE = 8.0

#: The parts with weights: folder -> the stem of its weight files, and what its configuration says it is.
_WEIGHTS = {
    "text_encoder": ("model", "clip_text_model"),
    "unet": ("diffusion_pytorch_model", "UNet2DConditionModel"),
    "vae": ("diffusion_pytorch_model", "AutoencoderKL"),
}
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB_SECONDS = 10.0  # how long the hub may take to answer before we say that it cannot be reached
_BIG = 200 * 2**20  # bytes of UNet weights from which speed and memory count for more than bits: see thrift.py
_WORKING = 3 * 2**30  # bytes that Python, the libraries and the tensors of a lesson take besides the weights
_MAPPED = 128 * 2**20  # bytes of a weight file that are in memory at once while it is converted to another dtype

#: Of a repository on the hub, only these files are downloaded: no pickles, no second copies, no safety checker.
HUB_FILES = {
    "allow_patterns": ["model_index.json", "sdlesson.json", "tokenizer/*.json", "tokenizer/*.txt", "scheduler/*.json"]
    + [f"{part}/{file}" for part, (s, _) in _WEIGHTS.items() for file in ("config.json", f"{s}*.safetensors*")],
    "ignore_patterns": ["*.fp16*", "*.bf16*", "*non_ema*"],
}


class BadInput(ValueError):
    """What was asked for cannot be done; the message is one sentence for the person who asked."""


class ModelError(BadInput):
    """A model cannot be loaded; the message is one sentence that says what is wrong with it."""


@dataclass(repr=False)
class StableDiffusion:
    """The parts of one Stable Diffusion, as diffusers and transformers made them: nothing is wrapped.

    `guidance_scale` is the one recommended for this model; `name` is what was loaded ("tiny", a hub id or a folder) and
    `folder` where its files are. Parts may be replaced: `sd.scheduler =
    DDIMScheduler.from_config(sd.scheduler.config)`.
    """

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    scheduler: LMSDiscreteScheduler
    name: str
    device: torch.device
    dtype: torch.dtype
    guidance_scale: float = ARTICLE_GUIDANCE
    folder: Path | None = None

    @property
    def vae_factor(self) -> int:
        """Pixels along the side of one latent square: each level of the VAE but the last halves the picture."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels, of the pictures that the UNet was trained on."""
        side = self.unet.config.sample_size
        rows, columns = (side, side) if isinstance(side, int) else side
        return rows * self.vae_factor, columns * self.vae_factor

    def __repr__(self) -> str:
        height, width = self.size
        weights = sum(part.num_parameters() for part in (self.text_encoder, self.unet, self.vae))
        return (
            f"StableDiffusion({self.name!r}, {width}x{height} pixels, {weights / 1e6:.1f} M parameters, "
            f"{str(self.dtype).removeprefix('torch.')} on {self.device})"
        )


def checkpoint_path() -> Path:
    """The folder of the bundled tiny model, in Diffusers layout."""
    return Path(__file__).parent / "checkpoint"


def default_model() -> str:
    """What `load()` loads: the environment's SDLESSON_MODEL, else "tiny"."""
    return os.environ.get("SDLESSON_MODEL") or "tiny"


def load(
    model: str | os.PathLike | None = None,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    revision: str | None = None,
    low_memory: bool | Literal["auto"] = "auto",
) -> StableDiffusion:
    """Load a Stable Diffusion: "tiny" (bundled), a hub id such as "CompVis/stable-diffusion-v1-4", or a local folder.

    `model=None` takes the environment's `SDLESSON_MODEL`, else "tiny". `device=None` is CUDA where there is one, else
    the CPU. `dtype` is what is computed in, whatever the files are stored in; None is float32, and for a big model
    what the device is fast in (thrift.fast_dtype). Weights go straight into it, without a copy of the whole file in
    memory; those of a big UNet that is stored in 16 bits stay so on the CPU, and are widened layer by layer.
    `low_memory` lets the parts of a big model leave the memory while another works, all of them stored in 16 bits if
    the files are; "auto" does so where less memory is free than the weights and 3 GiB. It counts on the CPU only.
    `revision` is the hub's branch, tag or commit; where it is None, v1.4 and v1.5 are pinned to a commit
    (sdlesson.hub.PINNED). The scheduler is K-LMS (LMSDiscreteScheduler) on the model's own noise schedule.
    Raises ModelError, with one sentence, where the model is incomplete, corrupt, pickled or out of reach.
    """
    name = os.fspath(model) if model is not None else default_model()
    folder = find(name, revision=revision)
    about = _settings(folder)
    with _quick_imports():
        import torch
    device, dtype = _device(device, torch), _dtype(dtype, torch)
    big = _bytes(folder, "unet") > _BIG
    if big:
        parts, dtype = _load_big(folder, device, dtype, low_memory)
    else:
        dtype = dtype or torch.float32
        parts = _load_parts(folder, device, dict.fromkeys(_WEIGHTS, dtype))
    scale = float(about.get("guidance_scale", ARTICLE_GUIDANCE))
    return StableDiffusion(**parts, name=name, device=device, dtype=dtype, guidance_scale=scale, folder=folder)


def find(name: str, *, revision: str | None = None) -> Path:
    """The folder that holds model `name`, complete and readable; downloads a hub id that is not cached yet.

    Needs neither torch nor diffusers, so that a wrong name is told at once. Raises ModelError.
    """
    if name == "tiny":
        return check_folder(checkpoint_path())
    folder = Path(name).expanduser()
    if folder.is_dir():
        return check_folder(folder)
    if folder.exists():
        raise ModelError(f"{name} is a file; a model is a folder in Diffusers layout.")
    if not _HUB_ID.fullmatch(name):
        raise ModelError(
            f"There is no folder {name}; a model is 'tiny', a folder in Diffusers layout, "
            "or a hub id such as CompVis/stable-diffusion-v1-4."
        )
    with _quick_imports():
        import huggingface_hub  # noqa: F401

        from .hub import from_hub
    return from_hub(name, revision, seconds=_HUB_SECONDS)


def check_folder(folder: Path) -> Path:
    """Return `folder` if every part of a Stable Diffusion is there and whole; raise ModelError naming what is not."""
    check_names(folder, _names(folder))
    for part, (_, needed) in _WEIGHTS.items():
        config = _json(folder / part / "config.json")
        kind = config.get("_class_name") or config.get("model_type") or needed
        if kind != needed:
            raise ModelError(f"{folder / part} holds a {kind}; sdlesson needs a {needed} there.")
        for file in _weight_files(folder, part):
            if not file.is_file():
                words = f"a piece of the {part.replace('_', ' ')}'s weights ({part}/{file.name})"
                raise ModelError(f"{folder} is not a whole Stable Diffusion in Diffusers layout: it lacks {words}.")
            check_safetensors(file)
    return folder


def check_names(where: str | Path, names: set[str]) -> None:
    """Raise ModelError unless `names`, the files of `where` such as "unet/config.json", make up a Stable Diffusion."""
    missing = missing_parts(where, names)
    if missing:
        raise ModelError(f"{where} is not a whole Stable Diffusion in Diffusers layout: it lacks {_and(missing)}.")
    if any(name.startswith("text_encoder_2/") for name in names):
        raise ModelError(f"{where} has two text encoders (as SDXL has); sdlesson knows models with one.")


def missing_parts(where: str | Path, names: set[str]) -> list[str]:
    """What `names` lack to be a Stable Diffusion, in words; raises ModelError where the weights are a pickle."""
    missing = []
    if "tokenizer/tokenizer.json" not in names and not {"tokenizer/vocab.json", "tokenizer/merges.txt"} <= names:
        missing.append("the tokenizer (tokenizer/tokenizer.json, or vocab.json and merges.txt)")
    for part, (stem, _) in _WEIGHTS.items():
        words, weights = part.replace("_", " "), f"{part}/{stem}.safetensors"
        if f"{part}/config.json" not in names:
            missing.append(f"the {words}'s configuration ({part}/config.json)")
        elif not {weights, f"{weights}.index.json"} & names:
            _refuse_pickle(where, part, names)
            missing.append(f"the {words}'s weights ({weights})")
    return missing


def _names(folder: Path) -> set[str]:
    """The files in the folders of the parts, such as "unet/config.json"."""
    parts = [folder / part for part in ("tokenizer", *_WEIGHTS, "text_encoder_2")]
    files = (file for part in parts if part.is_dir() for file in part.iterdir())
    return {f"{file.parent.name}/{file.name}" for file in files if file.is_file()}


def check_safetensors(file: Path) -> None:
    """Raise ModelError unless `file` is a whole safetensors file: its length must be what its header promises.

    The format: 8 bytes with the header's length, the header (JSON: name -> dtype, shape, data_offsets), then the data.
    """
    try:
        size, stream = file.stat().st_size, open(file, "rb")  # noqa: SIM115  (closed by the with below)
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}.") from None
    with stream:
        start = stream.read(8)
        if start == b"version ":
            raise ModelError(f"{file} is a Git LFS pointer, not the weights themselves; run `git lfs pull` there.")
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        try:
            header = json.loads(stream.read(length)) if length <= size - 8 else None
            end = 8 + length + max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            raise ModelError(f"{file} is corrupt or only half downloaded: its header cannot be read.") from None
    if end != size:
        raise ModelError(f"{file} is corrupt or only half downloaded: it has {size} bytes and should have {end}.")


def _weight_files(folder: Path, part: str) -> list[Path]:
    """The safetensors files of one part: one file, or the pieces that its index lists; empty if there are none."""
    stem = _WEIGHTS[part][0]
    whole, index = (folder / part / f"{stem}.safetensors{end}" for end in ("", ".index.json"))
    if whole.is_file():
        return [whole]
    if index.is_file():
        return [folder / part / piece for piece in sorted(set(_json(index).get("weight_map", {}).values()))]
    return []


def _refuse_pickle(where: str | Path, part: str, names: set[str]) -> None:
    pickles = sorted(name for name in names if name.startswith(f"{part}/") and name.endswith(_PICKLES))
    if pickles:
        raise ModelError(
            f"{where} holds its weights only as a pickle ({pickles[0]}), which can run any code when it is loaded; "
            "sdlesson loads safetensors only."
        )


def _settings(folder: Path) -> dict:
    """What sdlesson.json recommends for this model; empty for models that were made elsewhere."""
    file = folder / "sdlesson.json"
    return _json(file) if file.is_file() else {}


def _json(file: Path) -> dict:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise ModelError(f"{file} cannot be read as JSON: it is corrupt or only half downloaded.")
    return content


def _and(words: list[str]) -> str:
    return " and ".join([*([", ".join(words[:-1])] if words[1:] else []), words[-1]])


def _bytes(folder: Path, *parts: str) -> int:
    return sum(file.stat().st_size for part in parts for file in _weight_files(folder, part))


def _device(device, torch) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
        torch.empty(0, device=device)  # a device of a known kind may still not be there
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(f"There is no device {str(device)!r} here: {_first_line(error)}") from None
    return device


def _dtype(dtype, torch) -> torch.dtype | None:
    if isinstance(dtype, str):
        dtype = getattr(torch, dtype.removeprefix("torch."), dtype)
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ModelError(f"{dtype!r} is no dtype to compute in; take float32, bfloat16 or float16.")
    return dtype


def _load_big(folder: Path, device: torch.device, dtype: torch.dtype | None, low_memory) -> tuple[dict, torch.dtype]:
    """The five parts of a big model, kept and computed as the device does it best, and the dtype that they work in."""
    from . import thrift

    dtype = dtype or thrift.fast_dtype(device)
    if device.type != "cpu":
        parts = _load_parts(folder, device, dict.fromkeys(_WEIGHTS, dtype))
        parts["vae"].enable_slicing()
        return parts, dtype
    if low_memory == "auto":
        low_memory = thrift.is_short(_bytes(folder, *_WEIGHTS) + _WORKING)
    kept = {part: _kept_in(folder, part, dtype) if low_memory or part == "unet" else dtype for part in _WEIGHTS}
    parts = _load_parts(folder, device, kept)
    parts["vae"].enable_slicing()  # a batch one by one: a picture of v1.4's decoder takes more than a GiB
    thrift.keep_freed()
    thrift.share_beginning(parts["unet"])
    for part in _WEIGHTS:
        if thrift.can_speed_up(dtype, device):
            thrift.speed_up(parts[part])
        if kept[part] != dtype:
            thrift.work_in(parts[part], dtype)
    if low_memory:
        thrift.take_turns({part: parts[part] for part in _WEIGHTS})
    return parts, dtype


def _kept_in(folder: Path, part: str, dtype: torch.dtype) -> torch.dtype:
    """The dtype in which a part's weights stay: that of its files where it has 16 bits, else `dtype`."""
    import torch
    from safetensors import safe_open

    with safe_open(_weight_files(folder, part)[0], framework="pt") as stream:
        stored = {stream.get_slice(name).get_dtype() for name in stream.keys()}  # noqa: SIM118  (no mapping)
    narrow = {"F16": torch.float16, "BF16": torch.bfloat16}
    found = [narrow[code] for code in stored if code in narrow]
    return found[0] if len(found) == 1 and "F32" not in stored else dtype


def _load_parts(folder: Path, device: torch.device, dtypes: dict[str, torch.dtype]) -> dict:
    """The five parts by name, on `device`, each in its dtype; raises ModelError where weights do not fit."""
    with _quick_imports():
        from diffusers import AutoencoderKL, LMSDiscreteScheduler, UNet2DConditionModel
        from transformers import CLIPTokenizer
    parts, part = {}, "tokenizer"
    with quiet():
        try:
            parts[part] = CLIPTokenizer.from_pretrained(folder / part, local_files_only=True)
            part = "text_encoder"
            parts[part] = _text_encoder(folder / part, dtypes[part]).to(device)
            for part, kind in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
                parts[part] = _image_part(kind, folder / part, dtypes[part]).to(device)
            part = "scheduler"
            file = folder / part / "scheduler_config.json"
            config = _json(file) if file.is_file() else ARTICLE_SCHEDULE
            parts[part] = LMSDiscreteScheduler.from_config({k: v for k, v in config.items() if k[0] != "_"})
        except ModelError:
            raise
        except Exception as error:  # the libraries raise OSError, ValueError, RuntimeError, KeyError, their own ...
            raise ModelError(f"The part {folder / part} cannot be loaded: {_first_line(error)}") from error
    return parts


def _text_encoder(folder: Path, dtype: torch.dtype) -> CLIPTextModel:
    """The text encoder of a folder in `dtype`; files of before 2026 say text_model in front of each name.

    transformers' own from_pretrained would set torch's default dtype meanwhile, for every thread of the process.
    """
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig.from_pretrained(folder, local_files_only=True, dtype=dtype)
    with torch.device("meta"):
        model = CLIPTextModel(config)
    weights = read_weights(_weight_files(folder.parent, folder.name), dtype)
    model.embeddings.position_ids = torch.arange(config.max_position_embeddings)[None]  # 0 ... 76: no file holds them
    return _filled(model, {name.removeprefix("text_model."): weights[name] for name in weights}, folder)


def _image_part(kind: type, folder: Path, dtype: torch.dtype):
    """The UNet or VAE of a folder in `dtype`."""
    import torch

    with torch.device("meta"):
        model = kind.from_config(kind.load_config(folder, local_files_only=True))
    weights = read_weights(_weight_files(folder.parent, folder.name), dtype)
    return _filled(model, {_new_name(name): weights[name] for name in weights}, folder)


def _filled(model, weights: dict[str, torch.Tensor], folder: Path):
    """A model that was made without memory of its own, given the file's tensors."""
    model.load_state_dict(weights, strict=False, assign=True)
    lost = [name for values in (model.named_parameters(), model.named_buffers()) for name, x in values if x.is_meta]
    return _whole(model, {"missing_keys": lost}, folder)


def read_weights(files: list[Path], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The tensors of safetensors files by name, those of real numbers in `dtype`.

    A tensor that is stored in `dtype` stays on the disk until it is used; the others are converted one by one, the
    file closed and opened anew after every 128 MiB: what a closed file had in memory is free again.
    """
    from safetensors import safe_open

    weights = {}
    for file in files:
        with safe_open(file, framework="pt") as stream:
            names = list(stream.keys())
        while names:
            with safe_open(file, framework="pt") as stream:
                size = 0
                while names and size < _MAPPED:
                    values = stream.get_tensor(name := names.pop())
                    size += values.nbytes
                    weights[name] = values.to(dtype) if values.is_floating_point() else values
                    del values
    return weights


def _new_name(name: str) -> str:
    """What diffusers now calls a weight of the VAE's attention: the files of 2022 say query, key, value, proj_attn."""
    before, block, after = name.partition(".attentions.")
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
        after = after.replace(f".{old}.", f".{new}.")
    return before + block + after


def _whole(model, info: dict, folder: Path):
    """The model, unless its weights left holes (which would stay random) or had other shapes."""
    info = info if isinstance(info, dict) else vars(info)
    lost = sorted(str(name) for key in ("missing_keys", "mismatched_keys") for name in info.get(key, ()))
    if lost:
        more = f" and {len(lost) - 1} more" if lost[1:] else ""
        raise ModelError(f"The weights in {folder} do not fit its configuration: {lost[0]}{more} missing or misshapen.")
    return model.eval()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


@contextlib.contextmanager
def _quick_imports():
    """Import without the garbage collector: it would walk the million objects of torch and diffusers again and again.

    What modules hold is never garbage; pausing takes about a fifth off the time of these imports.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


class _Quiet(contextlib.AbstractContextManager):
    """The one of `quiet`: it counts who is inside, since the libraries' settings are those of the whole process."""

    def __init__(self):
        self._lock, self._inside, self._before = threading.Lock(), 0, []

    def __enter__(self):
        from diffusers.utils import logging as diffusers_log
        from transformers.utils import logging as transformers_log

        with self._lock:
            self._inside += 1
            if self._inside == 1:
                logs = (diffusers_log, transformers_log)
                self._before = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
                for log in logs:
                    log.set_verbosity_error()
                    log.disable_progress_bar()

    def __exit__(self, *_):
        with self._lock:
            self._inside -= 1
            for log, verbosity, bars in () if self._inside else self._before:
                log.set_verbosity(verbosity)
                if bars:
                    log.enable_progress_bar()


_QUIET = _Quiet()


def quiet() -> contextlib.AbstractContextManager:
    """No progress bars and no warnings of diffusers and transformers while loading; their settings come back after.

    Of several threads inside, the last one to leave brings them back.
    """
    return _QUIET
