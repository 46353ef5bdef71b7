"""What an editor knows of the package: the names are loaded lazily by `__init__.py`."""

from . import attention as attention
from . import decoding as decoding
from . import embeddings as embeddings
from . import engine as engine
from . import exercises as exercises
from . import explorers as explorers
from . import figures as figures
from . import fullsize as fullsize
from . import guidance as guidance
from . import latents as latents
from . import loading as loading
from . import models as models
from . import onepage as onepage
from . import samplers as samplers
from . import sigmas as sigmas
from . import steering as steering
from . import sweeps as sweeps
from . import tiny as tiny
from . import tokens as tokens
from . import training as training
from . import unet as unet
from . import world as world
from .decoding import decode as decode
from .decoding import paint as paint
from .decoding import read_trace as read_trace
from .decoding import save_png as save_png
from .decoding import save_trace as save_trace
from .decoding import to_pil as to_pil
from .embeddings import embed as embed
from .embeddings import text_embeddings as text_embeddings
from .guidance import Step as Step
from .guidance import Trace as Trace
from .guidance import denoise as denoise
from .guidance import record as record
from .latents import encode as encode
from .latents import initial_noise as initial_noise
from .loading.errors import BadInput as BadInput
from .loading.errors import ModelError as ModelError
from .models import StableDiffusion as StableDiffusion
from .models import checkpoint_path as checkpoint_path
from .models import load as load
from .sigmas import lms_coefficients as lms_coefficients
from .sweeps.run import sweep as sweep
from .tokens import TruncationWarning as TruncationWarning
from .tokens import UnknownWordsWarning as UnknownWordsWarning
from .tokens import tokenize as tokenize

LESSONS: dict[str, str]
PAGES: dict[str, str]
__version__: str

def lesson_number(topic: str) -> str: ...
def notebook_name(topic: str) -> str: ...
