"""Planted answers to the exercises on latents."""

import numpy as np
import torch

from . import function, value


def noise(seed, shape):
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))


def each_its_seed(seeds, shape):
    return torch.stack([noise(seed, shape) for seed in seeds])


def each_into_one(seeds, shape):
    made = torch.empty(len(seeds), *shape)
    for place, seed in enumerate(seeds):
        made[place] = torch.randn(shape, generator=torch.Generator().manual_seed(int(seed)))
    return made


def one_generator_seeded_anew(seeds, shape):
    generator = torch.Generator()
    return torch.cat([torch.randn((1, *shape), generator=generator.manual_seed(seed)) for seed in seeds])


def globally(seeds, shape):
    made = []
    for seed in seeds:
        torch.manual_seed(seed)
        made.append(torch.randn(shape))
    return torch.stack(made)


def drawn(moments, noise, factor):
    mean, logvar = moments.chunk(2, dim=1)
    return (mean + (logvar / 2).exp() * noise) * factor


def drawn_with(rule):
    return lambda moments, noise, factor: rule(*moments.chunk(2, dim=1), noise, factor)


def means(picture, size):
    return torch.nn.functional.avg_pool2d(picture[None, None], size)[0, 0]


def means_by_loops(picture, size):
    high, wide = (side // size for side in picture.shape)
    return [
        [float(picture[r * size : (r + 1) * size, c * size : (c + 1) * size].mean()) for c in range(wide)]
        for r in range(high)
    ]


def four_sides(picture, size):
    return picture.reshape(picture.shape[0] // size, size, picture.shape[1] // size, size)


PLANTED = {
    "latents.1": {
        "facts": lambda sd: {"height": 768, "width": 1024, "channels": 16},
        "right": [
            ((1, 16, 96, 128), 12),
            ([1, 16, 96, 128], 12.0),
            [(1, 16, 96, 128), np.int64(12)],
            (torch.Size([1, 16, 96, 128]), torch.tensor(12)),
            (np.array([1, 16, 96, 128]), np.float64(12)),
            (torch.tensor([1.0, 16, 96, 128]), torch.tensor([12.0])),
        ],
        "wrong": {
            "48, as for 4 channels": ((1, 16, 96, 128), 48),
            "the colours are not counted: 64 / 16": ((1, 16, 96, 128), 4),
            "upside down, not how many times fewer": ((1, 16, 96, 128), 1 / 12),
            "rows and columns the other way round": ((1, 16, 128, 96), 12),
            "two pictures, as if guided": ((2, 16, 96, 128), 12),
            "three times four channels": ((1, 12, 96, 128), 16),
            "4 channels, as v1.4's VAE has": ((1, 4, 96, 128), 48),
            "pixels, not halved": ((1, 16, 768, 1024), 12),
            "places only, 64, neither colours nor channels": ((1, 16, 96, 128), 64),
            "halved twice, not three times": ((1, 16, 192, 256), 3),
            "the shape alone, no pair": (1, 16, 96, 128),
            "the shape comes first": (12, (1, 16, 96, 128)),
        },
    },
    "latents.2": {
        "facts": lambda sd: {},
        "right": function(
            lambda latents: 1 / latents.std(),
            lambda latents: 1 / float(latents.std(correction=0)),
            lambda latents: (latents - latents.mean()).square().mean() ** -0.5,
            lambda latents: np.float64(1 / np.std(latents.numpy())),
            lambda latents: latents.flatten().var().rsqrt(),
        ),
        "wrong": {
            "the standard deviation itself": lambda latents: latents.std(),
            "one over the variance": lambda latents: 1 / latents.var(),
            "a factor for each channel, not one number": lambda latents: 1 / latents.std(dim=(0, 2, 3)),
            "an average of the channels' own factors": lambda latents: (1 / latents.std(dim=(0, 2, 3))).mean(),
            "only the first picture of the batch": lambda latents: 1 / latents[0].std(),
            "measured from 0, the mean not taken away": lambda latents: 1 / latents.square().mean().sqrt(),
            "scaled latents, where one number is asked for": lambda latents: latents / latents.std(),
            "always v1.4's 0.18215": lambda latents: 0.18215,
        },
    },
    "latents.3": {
        "facts": lambda sd: {"sigma": 14.6146, "factor": 0.13025},
        "right": [*value(1.9035516), 1.9, 1.904, np.float32(1.9035516)],
        "wrong": {
            "as for scaled latents": 14.6146,
            "divided: but the noise is less strong against wider latents": 14.6146 / 0.13025,
            "v1.4's factor, not this one": 14.6146 * 0.18215,
            "the latents' width, without the noise": 1 / 0.13025,
            "upside down: the picture against the noise": 1 / 1.9035516,
            "the factor squared, as for variances": 14.6146 * 0.13025**2,
        },
    },
    "latents.4": {
        "facts": lambda sd: {},
        "right": function(each_its_seed, each_into_one, one_generator_seeded_anew),
        "wrong": {
            "all of it from the first seed": lambda seeds, shape: noise(seeds[0], (len(seeds), *shape)),
            "the global generator is changed": globally,
            "the first seed's noise in all pictures": lambda seeds, shape: noise(seeds[0], shape).expand(
                len(seeds), *shape
            ),
            "the last seed's noise in all pictures": lambda seeds, shape: torch.stack(
                [noise(seeds[-1], shape)] * len(seeds)
            ),
            "wrong order, the last first": lambda seeds, shape: each_its_seed(seeds[::-1], shape),
            "joined without a new first side": lambda seeds, shape: torch.cat([noise(seed, shape) for seed in seeds]),
            "fixed seeds 42, 43, 44, whatever is asked for": lambda seeds, shape: each_its_seed([42, 43, 44], shape),
            "the seeds are not used": lambda seeds, shape: torch.randn(len(seeds), *shape),
            "one picture only": lambda seeds, shape: noise(seeds[0], shape),
        },
    },
    "latents.5": {
        "facts": lambda sd: {},
        "right": function(
            drawn,
            drawn_with(lambda mean, logvar, noise, factor: factor * mean + factor * logvar.exp().sqrt() * noise),
            lambda moments, noise, factor: factor * (moments[:, :4] + torch.exp(0.5 * moments[:, 4:]) * noise),
        ),
        "wrong": {
            "the factor divides": drawn_with(lambda m, v, n, f: (m + (v / 2).exp() * n) / f),
            "the factor is missing": drawn_with(lambda m, v, n, f: m + (v / 2).exp() * n),
            "v1.4's 0.18215, whatever the factor is": drawn_with(lambda m, v, n, f: (m + (v / 2).exp() * n) * 0.18215),
            "exp(logvar) is the variance": drawn_with(lambda m, v, n, f: (m + v.exp() * n) * f),
            "the logarithm itself is no standard deviation": drawn_with(lambda m, v, n, f: (m + v * n) * f),
            "the mean alone": drawn_with(lambda m, v, n, f: m * f),
            "the halves have changed places": drawn_with(lambda m, v, n, f: (v + (m / 2).exp() * n) * f),
            "only the noise is scaled by the factor, the mean is not": drawn_with(
                lambda m, v, n, f: m + (v / 2).exp() * n * f
            ),
            "the mean is missing": drawn_with(lambda m, v, n, f: (v / 2).exp() * n * f),
        },
    },
    "latents.6": {
        "facts": lambda sd: {},
        "right": function(
            lambda latents, noise, sigma: latents + sigma * noise,
            lambda latents, noise, sigma: torch.add(latents, noise, alpha=sigma),
            lambda latents, noise, sigma: torch.stack([a + sigma * b for a, b in zip(latents, noise, strict=True)]),
        ),
        "wrong": {
            "sigma is not used": lambda a, b, s: a + b,
            "the latents are made stronger, too": lambda a, b, s: s * (a + b),
            "the latents are made stronger, the noise is not": lambda a, b, s: s * a + b,
            "mixed by shares: the latents become weaker": lambda a, b, s: (1 - s) * a + s * b,
            "the noise is taken away": lambda a, b, s: a - s * b,
            "the noise alone": lambda a, b, s: s * b,
            "scaled to strength 1, as for the UNet": lambda a, b, s: (a + s * b) / (s * s + 1) ** 0.5,
            "sigma squared": lambda a, b, s: a + s * s * b,
        },
    },
    "latents.7": {
        "facts": lambda sd: {},
        "right": function(
            lambda picture, size: four_sides(picture, size).mean(dim=(1, 3)),
            means,
            means_by_loops,
            lambda picture, size: picture.unfold(0, size, size).unfold(1, size, size).mean(dim=(2, 3)),
        ),
        "wrong": {
            "one pixel of each block, no mean": lambda p, s: p[::s, ::s],
            "the sum, not the mean": lambda p, s: four_sides(p, s).sum(dim=(1, 3)),
            "the largest, not the mean": lambda p, s: four_sides(p, s).amax(dim=(1, 3)),
            "reshape deals other pixels to a block: the order of the sides": lambda p, s: p.reshape(
                p.shape[0] // s, p.shape[1] // s, s, s
            ).mean(dim=(2, 3)),
            "rows and columns have changed places": lambda p, s: means(p, s).T,
            "one mean for the whole picture": lambda p, s: p.mean(),
            "every pixel kept, nothing is made smaller": lambda p, s: p,
            "only the rows are joined": lambda p, s: p.reshape(p.shape[0] // s, s, -1).mean(dim=1),
        },
    },
    "latents.8": {
        "facts": lambda sd: {},
        "right": function(
            lambda picture, back: (picture - back).square().mean(dim=0),
            lambda picture, back: ((back - picture) ** 2).sum(dim=0) / 3,
            lambda picture, back: sum((a - b) ** 2 for a, b in zip(picture, back, strict=True)) / 3,
        ),
        "wrong": {
            "not squared: differences cancel out": lambda a, b: (a - b).mean(dim=0),
            "absolute values, not squares": lambda a, b: (a - b).abs().mean(dim=0),
            "the sum, not the mean": lambda a, b: (a - b).square().sum(dim=0),
            "the mean first, then the square": lambda a, b: (a - b).mean(dim=0).square(),
            "one number for the whole picture": lambda a, b: (a - b).square().mean(),
            "the root is taken at the end": lambda a, b: (a - b).square().mean(dim=0).sqrt(),
            "a mean over the wrong side, not the colours": lambda a, b: (a - b).square().mean(dim=1),
            "the largest of the three": lambda a, b: (a - b).square().amax(dim=0),
        },
    },
}
