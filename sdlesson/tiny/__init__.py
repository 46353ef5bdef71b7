"""How the tiny model was made, from pictures to checkpoint: `python -m sdlesson.tiny`."""

from __future__ import annotations
