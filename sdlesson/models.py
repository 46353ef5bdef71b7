"""The parts of one Stable Diffusion, tiny or real: found, checked, and loaded from safetensors only."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .loading import fit
from .loading.errors import BadInput, ModelError, first_line, say
from .loading.folders import WEIGHTS as _WEIGHTS
from .loading.folders import check_folder, weight_bytes
from .loading.quiet import quick_imports, quiet
from .loading.weights import image_part, part_weights, stored_dtype, text_encoder_of, tokenizer_of

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, LMSDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    from .engine.openvino import Compiled, Engine


#: The article's K-LMS, as Stable Diffusion was trained: also v1.4's scheduler/scheduler_config.json.
ARTICLE_SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}


ARTICLE_GUIDANCE = 8.0


ARTICLE_PROMPT = "a photograph of an astronaut riding a horse"


_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


_HUB_SECONDS = 10.0  # how long the hub may take to answer before we say that it cannot be reached


_BIG = 200 * 2**20  # bytes of UNet weights from which speed and memory count for more than bits: see engine/lean.py


@dataclass(repr=False)
class StableDiffusion:
    """The parts of one Stable Diffusion, as diffusers and transformers made them: nothing is wrapped.

    `guidance_scale` is the one recommended for this model; `name` is what was loaded ("tiny", a hub id or a folder) and
    `folder` where its files are. Parts may be replaced: `sd.scheduler =
    DDIMScheduler.from_config(sd.scheduler.config, timestep_spacing="leading")`. `engine`, if any, computes in the place
    of `unet` and `vae` when whole pictures are painted (`fastest`).
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
    engine: Engine | None = None

    def fastest(self, part: Literal["unet", "vae"]) -> UNet2DConditionModel | AutoencoderKL | Compiled:
        """What computes the UNet or the VAE here: the engine's, or torch's part (see `engine.openvino.Engine.of`)."""
        own = getattr(self, part)
        return self.engine.of(own) if self.engine else own

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
    engine: Literal["auto", "torch", "openvino"] = "auto",
) -> StableDiffusion:
    """Load a Stable Diffusion: "tiny" (bundled), a hub id such as "CompVis/stable-diffusion-v1-4", or a local folder.

    `model=None` takes the environment's `SDLESSON_MODEL`, else "tiny". `device=None` is CUDA where there is one, else
    the CPU. `dtype` is what is computed in, whatever the files are stored in; None is float32, and for a big model
    what the device is fast in (lean.fast_dtype). Weights go straight into it, without a copy of the whole file in
    memory. `engine` is what computes the UNet and the VAE's decoder when pictures are painted: "auto" is OpenVINO for a
    big model on a CPU where that is installed (the extra `fast`), can compute in `dtype`, and has the memory it needs;
    it converts the model the first time, in up to a minute. `low_memory` lets the parts of a big model leave the memory
    while another works, and stay in the files' 16 bits; "auto" does so where too little memory is free for anything
    else, and says it. It counts on the CPU only.
    `revision` is the hub's branch, tag or commit; where it is None, v1.4 and v1.5 are pinned to a commit
    (sdlesson.loading.hub.PINNED). The scheduler is K-LMS (LMSDiscreteScheduler) on the model's own noise schedule.
    Weights in 16 bits (`*.fp16.safetensors`) are taken where there are no others. On a CPU the first load sets torch's
    threads, for the whole process, to one: a small model's tensors are too small to share. A big model's load brings
    all of them back, for good. Raises ModelError, with one sentence, where the model is incomplete, corrupt, pickled or
    out of reach, where its parts do not fit each other, and where it is of another kind: one whose UNet takes more than
    latents, timestep and text, or whose noise K-LMS cannot have.
    """
    name = _name(model)
    if not isinstance(low_memory, bool) and low_memory != "auto":
        raise ModelError(f'low_memory is True, False or "auto", not {low_memory!r}.')
    if engine not in ("auto", "torch", "openvino"):
        raise ModelError(f'The engine is "auto", "torch" or "openvino", not {engine!r}.')
    if engine == "openvino" and low_memory is True:
        raise ModelError("OpenVINO keeps its own copy of the weights in memory: leave out low_memory, or the engine.")
    folder = find(name, revision=revision)
    about = fit.recommended(folder)
    with quick_imports():
        import torch
    device = _device("cpu" if device is None and engine == "openvino" else device, torch)
    dtype = _dtype(dtype, torch)
    big = weight_bytes(folder, "unet") > _BIG or engine == "openvino"
    if device.type == "cpu":
        with _ONE_AT_A_TIME:
            every = _threads_before()
        if big:
            torch.set_num_threads(every)
    if big:
        parts, dtype, engine = _load_big(folder, device, dtype, low_memory, engine)
    else:
        dtype, engine = dtype or torch.float32, None
        parts = _load_parts(folder, device, dict.fromkeys(_WEIGHTS, dtype))
    scale = float(about.get("guidance_scale", ARTICLE_GUIDANCE))
    return StableDiffusion(
        **parts, name=name, device=device, dtype=dtype, guidance_scale=scale, folder=folder, engine=engine
    )


_ONE_AT_A_TIME = threading.Lock()


@cache
def _threads_before() -> int:
    """The threads that torch had before the first load, which leaves it one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    return before


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
    with quick_imports():
        import huggingface_hub  # noqa: F401

        from .loading.hub import from_hub
    return from_hub(name, revision, seconds=_HUB_SECONDS)


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
        known = getattr(torch, dtype.removeprefix("torch."), None)
        dtype = known if isinstance(known, torch.dtype) else dtype
    if dtype not in (None, torch.float32, torch.bfloat16, torch.float16, torch.float64):
        raise ModelError(f"{dtype!r} is no dtype to compute in; take float32, bfloat16 or float16.")
    return dtype


def _load_big(folder: Path, device: torch.device, dtype: torch.dtype | None, low_memory, engine: str) -> tuple:
    """The five parts of a big model, kept as suits the device; the dtype that they work in; and the engine, if any."""
    import torch

    from .engine import choice, lean
    from .engine.conversion import converted
    from .engine.openvino import Engine

    dtype = dtype or lean.fast_dtype(device)
    if device.type != "cpu":
        if engine == "openvino":
            raise ModelError(f"OpenVINO computes on the CPU here, not on {device}; leave out the engine or the device.")
        parts = _load_parts(folder, device, dict.fromkeys(_WEIGHTS, dtype))
        parts["vae"].enable_slicing()
        return parts, dtype, None
    way, place = choice.choose(folder, dtype, low_memory, engine), None
    if way == "openvino":
        try:
            place = converted(folder)
        except (ModelError, BadInput) as error:
            if engine == way:
                raise
            say(f"sdlesson: {error} Until then torch computes.", error=True)
            way = "torch"
    kept = {part: dtype if way == "torch" else stored_dtype(folder, part, torch.float32) for part in _WEIGHTS}
    parts = _load_parts(folder, device, kept)
    parts["vae"].enable_slicing()  # a batch one by one: a picture of v1.4's decoder takes more than a GiB
    for part in _WEIGHTS:
        if kept[part] != dtype:
            lean.upcast_layers(parts[part], dtype)
    # For 16 bits a part is converted when its turn comes; for 32, layer by layer: all of it would fill the memory.
    works_in = kept if dtype == torch.float32 else dict.fromkeys(_WEIGHTS, dtype)

    def fresh(part, works):
        return part_weights(folder / part, (works_in if works else kept)[part])

    if way == "lean":
        lean.offload_by_turns({part: parts[part] for part in _WEIGHTS}, fresh)
    elif place:
        lean.offload_when_done(parts["text_encoder"], partial(fresh, "text_encoder"))
    return parts, dtype, Engine(place, parts, dtype) if place else None


def _load_parts(folder: Path, device: torch.device, dtypes: dict[str, torch.dtype]) -> dict:
    """The five parts by name, on `device`, each in its dtype; raises ModelError where weights do not fit."""
    with quick_imports():
        from diffusers import AutoencoderKL, LMSDiscreteScheduler, UNet2DConditionModel
    parts, part = {}, "tokenizer"
    with quiet():
        try:
            parts[part] = tokenizer_of(folder / part)
            part = "text_encoder"
            parts[part] = text_encoder_of(folder / part, dtypes[part]).to(device)
            for part, kind in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
                parts[part] = image_part(kind, folder / part, dtypes[part]).to(device)
            part = "scheduler"
            schedule = fit.schedule(folder) or ARTICLE_SCHEDULE
            # K-LMS never clips, but others that are made from its config would clip latents as if they were pixels
            parts[part] = LMSDiscreteScheduler.from_config({"clip_sample": False, **schedule})
        except ModelError:
            raise
        except Exception as error:  # the libraries raise OSError, ValueError, RuntimeError, KeyError, their own ...
            raise ModelError(f"The part {folder / part} cannot be loaded: {first_line(error)}") from error
    return parts
