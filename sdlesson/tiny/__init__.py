"""How the tiny model was made, from pictures to checkpoint: `python -m sdlesson.training`."""

from __future__ import annotations
