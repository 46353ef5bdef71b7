"""The parts of one Stable Diffusion, tiny or real: found, checked, and loaded from safetensors only."""

from __future__ import annotations

import codecs
import contextlib
import gc
import os
import re
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .loading import fit
from .loading.errors import BadInput, ModelError, first_line  # noqa: F401  (the rooms take BadInput from here)
from .loading.files import read_json
from .loading.folders import HUB_FILES, check_folder, weight_files  # noqa: F401  (and a lesson HUB_FILES)
from .loading.folders import WEIGHTS as _WEIGHTS

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

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB_SECONDS = 10.0  # how long the hub may take to answer before we say that it cannot be reached
_BIG = 200 * 2**20  # bytes of UNet weights from which speed and memory count for more than bits: see thrift.py
_WORKING = 3 * 2**30  # bytes that Python, the libraries and the tensors of a lesson take besides the weights
_MAPPED = 128 * 2**20  # bytes of a weight file that are in memory at once while it is converted to another dtype


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
        """Height and width, in pixels, of the pictures that the UNet was trained on; v1's where it does not say."""
        side = self.unet.config.sample_size or fit.V1_LATENTS
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
    (sdlesson.hub.PINNED). The scheduler is K-LMS (LMSDiscreteScheduler) on the model's own noise schedule. Weights in
    16 bits (`*.fp16.safetensors`) are taken where there are no others. Raises ModelError, with one sentence, where the
    model is incomplete, corrupt, pickled or out of reach, where its parts do not fit each other, and where it is of
    another kind: one whose UNet takes more than latents, timestep and text, or whose noise K-LMS cannot have.
    """
    name = _name(model)
    if low_memory not in (True, False, "auto"):
        raise ModelError(f'low_memory is True, False or "auto", not {low_memory!r}.')
    folder = find(name, revision=revision)
    about = fit.recommended(folder)
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


def _name(model: str | os.PathLike | None) -> str:
    name = default_model() if model is None else os.fspath(model) if isinstance(model, os.PathLike) else model
    if not isinstance(name, str):
        raise ModelError(f"A model is named by a text or a path, not by {model!r}.")
    return name


def find(name: str, *, revision: str | None = None) -> Path:
    """The folder that holds model `name`, complete and readable; downloads a hub id that is not cached yet.

    Needs neither torch nor diffusers, so that a wrong name is told at once. Raises ModelError.
    """
    if name == "tiny":
        return check_folder(checkpoint_path())
    try:
        folder = Path(name).expanduser()
        if folder.is_dir():
            return check_folder(folder)
        if folder.exists():
            raise ModelError(f"{name} is a file; a model is a folder in Diffusers layout.")
    except (OSError, RuntimeError) as error:  # a name that is too long, a closed folder, a ~user who is not here
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise ModelError(f"There is no folder {name} that can be read: {reason}.") from None
    if not _HUB_ID.fullmatch(name):
        raise ModelError(
            f"There is no folder {name}; a model is 'tiny', a folder in Diffusers layout, "
            "or a hub id such as CompVis/stable-diffusion-v1-4."
        )
    with _quick_imports():
        import huggingface_hub  # noqa: F401

        from .hub import from_hub
    return from_hub(name, revision, seconds=_HUB_SECONDS)


def _bytes(folder: Path, *parts: str) -> int:
    return sum(file.stat().st_size for part in parts for file in weight_files(folder, part))


def _device(device, torch) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(device, bool):
        raise ModelError(f"A device is named 'cpu' or 'cuda', not {device!r}.")
    try:
        device = torch.device(device)
        torch.empty(0, device=device)  # a device of a known kind may still not be there
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError) as error:
        raise ModelError(f"There is no device {str(device)!r} here: {first_line(error)}") from None
    return device


def _dtype(dtype, torch) -> torch.dtype | None:
    if isinstance(dtype, str):
        dtype = getattr(torch, dtype.removeprefix("torch."), dtype)
    if dtype not in (None, torch.float32, torch.bfloat16, torch.float16, torch.float64):
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

    with safe_open(weight_files(folder, part)[0], framework="pt") as stream:
        stored = {stream.get_slice(name).get_dtype() for name in stream.keys()}  # noqa: SIM118  (no mapping)
    narrow = {"F16": torch.float16, "BF16": torch.bfloat16}
    found = [narrow[code] for code in stored if code in narrow]
    return found[0] if len(found) == 1 and "F32" not in stored else dtype


def _load_parts(folder: Path, device: torch.device, dtypes: dict[str, torch.dtype]) -> dict:
    """The five parts by name, on `device`, each in its dtype; raises ModelError where weights do not fit."""
    with _quick_imports():
        from diffusers import AutoencoderKL, LMSDiscreteScheduler, UNet2DConditionModel
    parts, part = {}, "tokenizer"
    with quiet():
        try:
            parts[part] = _tokenizer(folder / part)
            part = "text_encoder"
            parts[part] = _text_encoder(folder / part, dtypes[part]).to(device)
            for part, kind in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
                parts[part] = _image_part(kind, folder / part, dtypes[part]).to(device)
            part = "scheduler"
            parts[part] = LMSDiscreteScheduler.from_config(fit.schedule(folder) or ARTICLE_SCHEDULE)
        except ModelError:
            raise
        except Exception as error:  # the libraries raise OSError, ValueError, RuntimeError, KeyError, their own ...
            raise ModelError(f"The part {folder / part} cannot be loaded: {first_line(error)}") from error
    return parts


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer of a folder; where it does not say how long its texts are, as long as the text encoder reads."""
    from transformers import CLIPTokenizer

    with _without_marks(folder) as readable:
        tokenizer = CLIPTokenizer.from_pretrained(readable, local_files_only=True)
    if fit.text_length(folder.parent) is None:
        tokenizer.model_max_length = read_json(folder.parent / "text_encoder/config.json").get(
            "max_position_embeddings", 77
        )
    return tokenizer


@contextlib.contextmanager
def _without_marks(folder: Path):
    """`folder` itself, or a copy without the byte-order marks of its files, which transformers does not read."""
    marked = [file.name for file in folder.iterdir() if file.is_file() and _start(file) == codecs.BOM_UTF8]
    if not marked:
        yield folder
        return
    with tempfile.TemporaryDirectory() as place:
        copy = Path(shutil.copytree(folder, Path(place) / folder.name))
        for name in marked:
            (copy / name).write_bytes((folder / name).read_bytes().removeprefix(codecs.BOM_UTF8))
        yield copy


def _start(file: Path) -> bytes:
    with open(file, "rb") as stream:
        return stream.read(len(codecs.BOM_UTF8))


def _text_encoder(folder: Path, dtype: torch.dtype) -> CLIPTextModel:
    """The text encoder of a folder in `dtype`; files of before 2026 say text_model in front of each name.

    transformers' own from_pretrained would set torch's default dtype meanwhile, for every thread of the process.
    """
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    known = CLIPTextConfig().to_dict().keys() - {"return_dict", "output_attentions", "output_hidden_states"}
    told = read_json(folder / "config.json")  # of which nothing may choose the code that runs (attn_implementation)
    config = CLIPTextConfig(**{key: value for key, value in told.items() if key in known} | {"dtype": dtype})
    with torch.device("meta"):
        model = CLIPTextModel(config)
    weights = read_weights(weight_files(folder.parent, folder.name), dtype)
    model.embeddings.position_ids = torch.arange(config.max_position_embeddings)[None]  # 0 ... 76: no file holds them
    return _filled(model, {name.removeprefix("text_model."): weights[name] for name in weights}, folder)


def _image_part(kind: type, folder: Path, dtype: torch.dtype):
    """The UNet or VAE of a folder in `dtype`."""
    import torch

    told = read_json(folder / "config.json")
    config = {key: value for key, value in told.items() if key != "_use_default_values"}
    if folder.name == "unet":
        config["sample_size"] = fit.sample_size(folder.parent)
    elif config.get("sample_size", 0) is None:
        del config["sample_size"]  # the VAE's is for tiles only
    fit.check_numbers(folder / "config.json", config, kind)
    with torch.device("meta"):
        model = kind.from_config(config)
    weights = read_weights(weight_files(folder.parent, folder.name), dtype)
    return _filled(model, {_new_name(name): weights[name] for name in weights}, folder)


def _filled(model, weights: dict[str, torch.Tensor], folder: Path):
    """A model that was made without memory of its own, given the file's tensors; raises ModelError unless they fit.

    What they lack would stay without numbers, and neither library raises for that.
    """
    shapes = {name: tuple(values.shape) for name, values in model.state_dict().items()}
    stored = {name: tuple(values.shape) for name, values in weights.items()}
    wrong = [
        f"{name} is {stored[name]} in the file and {shape} by the configuration"
        for name, shape in sorted(shapes.items())
        if stored.get(name, shape) != shape
    ]
    if not wrong:
        model.load_state_dict(weights, strict=False, assign=True)
        held = (*model.named_parameters(), *model.named_buffers())
        wrong = sorted(f"{name} is missing" for name, values in held if values.is_meta)
    if wrong:
        more = f"; so are {len(wrong) - 1} more, missing or misshapen" if wrong[1:] else ""
        raise ModelError(f"The weights in {folder} do not fit its configuration: {wrong[0]}{more}.")
    return model.eval()


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
