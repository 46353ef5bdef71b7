"""The training set: pictures that the tiny world's painter draws once, kept on disk as bytes beside their captions.

Picture k of a run depends on the run's seed and on k alone, so that an interrupted drawing goes on where it stopped and
two runs of one seed see the same pictures.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..loading.writing import whole_file, write_whole
from ..world import draw, random_scene

#: Pictures in one file of the cache: 1000 × 128 × 128 × 3 bytes = 49 MB.
CHUNK = 1000


def draw_example(seed: int, index: int, size: int, split: str = "train") -> tuple[np.ndarray, str]:
    """Return picture `index` of a seed's training set and its caption: uint8 (size, size, 3) and str."""
    rng = np.random.default_rng([seed, index])
    scene = random_scene(rng, split=split)
    return np.asarray(draw(scene, rng, size=size)), scene.caption


def _draw_chunk(folder: str, number: int, count: int, seed: int, size: int) -> None:
    """Draw one file of pictures and one of captions; each appears under its name only when it is whole."""
    examples = [draw_example(seed, number * CHUNK + i, size) for i in range(count)]
    captions = json.dumps([caption for _, caption in examples], indent=0)
    write_whole(Path(folder, f"captions-{number:03}.json"), captions)
    with whole_file(Path(folder, f"pictures-{number:03}.npy")) as file:  # last: where it is, both are
        np.save(file, np.stack([picture for picture, _ in examples]))


def draw_pictures(folder: Path, count: int, seed: int, size: int, workers: int | None = None) -> None:
    """Fill `folder` with the first `count` pictures of a seed, in as many processes as there are cores.

    Files that are already there are left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {number: min(CHUNK, count - number * CHUNK) for number in range(-(-count // CHUNK))}
    missing = [number for number in sizes if not (folder / f"pictures-{number:03}.npy").exists()]
    if not missing:
        return
    workers = min(workers or os.cpu_count() or 1, len(missing))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_draw_chunk, str(folder), number, sizes[number], seed, size) for number in missing]
        for job in tqdm(jobs, desc="drawing pictures", unit="k"):
            job.result()


def drawn(folder: Path) -> list[Path]:
    """The files of pictures from the first one on, up to the first that is not there."""
    files = []
    while (file := folder / f"pictures-{len(files):03}.npy").exists():
        files.append(file)
    return files


def _files(folder: Path) -> list[Path]:
    files = drawn(folder)
    if not files:
        raise FileNotFoundError(f"There are no training pictures in {folder}; run the stage 'pictures' first.")
    return files


def read_captions(folder: Path) -> list[str]:
    """The captions of the drawn training set, in its order."""
    names = [file.name.replace("pictures", "captions").replace(".npy", ".json") for file in _files(folder)]
    return [caption for name in names for caption in json.loads((folder / name).read_text("utf-8"))]


def as_pixels(pictures: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Bytes (N, H, W, 3), as drawn, as floats (N, 3, H, W) in [-1, 1]."""
    return torch.as_tensor(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


class Pictures:
    """The drawn training set, or its first `most` pictures, in a device's memory as bytes (30 000 pictures: 1.5 GB).

    `len(pictures)`, `pictures.captions` (list of str), `pictures.batch(indices)`: float32 (B, 3, H, W) in [-1, 1].
    """

    def __init__(self, folder: Path, device: torch.device | str = "cpu", most: int | None = None):
        files = [np.load(file, mmap_mode="r") for file in _files(folder)[: most and -(-most // CHUNK)]]
        self.pixels = torch.empty((sum(map(len, files)), *files[0].shape[1:]), dtype=torch.uint8, device=device)
        for part, file in zip(self.pixels.split(list(map(len, files))), files, strict=True):
            part.copy_(torch.from_numpy(np.array(file)))
        self.captions = read_captions(folder)[: len(self.pixels)]

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices) -> torch.Tensor:
        return as_pixels(self.pixels[torch.as_tensor(indices, device=self.pixels.device)])


def mirror_half(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror a random half of the pictures (B, 3, H, W): the world has no left and no right, and no letters."""
    chance = torch.rand(len(pixels), 1, 1, 1, generator=generator, device=generator.device)
    return torch.where(chance < 0.5, pixels.flip(-1), pixels)


def fresh_pictures(seed: int, count: int, size: int, split: str = "train") -> tuple[torch.Tensor, list[str]]:
    """Draw pictures that no training set holds (no run can have their seed): (count, 3, size, size) and captions."""
    examples = [draw_example(2**32 + seed, index, size, split) for index in range(count)]
    return as_pixels(np.stack([picture for picture, _ in examples])), [caption for _, caption in examples]
