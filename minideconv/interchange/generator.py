"""A trained generator for those who have not this package: as an ONNX file, or as a page of PyTorch and its weights."""
from pathlib import Path

from .. import nn, storage
from .chain import steps
from .onnx_file import save_onnx, to_onnx
from .source import Page, arrays, page, text

PROGRAM, WEIGHTS = "generator.py", "weights.npz"


def generator_to_onnx(generator: nn.Module, path: storage.Path) -> None:
    """Write a generator (see gan.load_generator) as an ONNX file, in evaluation mode.

    Inputs: `latents`, float32 (N, latent), and, where it is told labels, `labels`, int64 (N,);
    output: `images`, float32 (N, H, W, C) in [0, 1], or `points`, float32 (N, 2). Written beside
    and renamed. Raises ImportError where the package onnx is missing, TypeError for a generator
    that cannot be translated.
    """
    latents = (generator.latent,)
    result = "images" if len(steps(generator, latents)[-1].after) == 3 else "points"
    save_onnx(path, to_onnx(generator, latents, source="latents", result=result))


def generator_to_torch(generator: nn.Module, folder: storage.Path) -> list[Path]:
    """Write generator.py, a page of plain PyTorch, and weights.npz into a folder, which is made; gives the two paths.

        from generator import Generator
        images = Generator.load()(latents, labels)          # tensors (N, latent), (N,) -> (N, H, W, C)

    It needs torch and numpy, and unpickles nothing. Each file is written beside and renamed. Raises
    ValueError where `folder` is a file, TypeError for a generator that cannot be translated.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder must be a folder, new or not; {folder} is a file")
    found = page(generator, (generator.latent,))
    program, weights = folder / PROGRAM, folder / WEIGHTS
    folder.mkdir(parents=True, exist_ok=True)
    storage.save_arrays(weights, arrays(generator, (generator.latent,), found.names))
    storage.replace(program, lambda file: file.write(source(found, generator.latent, generator.uniform).encode()))
    return [program, weights]


def source(found: Page, latent: int, uniform: float | None) -> str:
    """The text of generator.py. uniform: the bound of the latents, or None where they are from N(0, 1)."""
    images, told = len(found.shape) == 3, found.classes
    result = f"images float32 (N, {', '.join(map(str, found.shape))}) in [0, 1]" if images else "points float32 (N, 2)"
    drawn = "N(0, 1)" if uniform is None else f"U(-{uniform:.6g}, {uniform:.6g})"
    given = f", labels int64 (N,) below {told}" if told else ""
    signature, call = ("latents, labels", "latents, labels") if told else ("latents, labels=None", "latents")
    sample = "torch.randn(16, {0})" if uniform is None else f"{uniform:.6g} * (2 * torch.rand(16, {{0}}) - 1)"
    lines = [HEAD.format(drawn=drawn).rstrip("\n"), text(found.parts, 12), "        ])", "",
             f"    def forward(self, {signature}):",
             f'        """latents float32 (N, {latent}){given} -> {result}."""', "        x = latents"]
    if told:
        lines += [f"        hot = nn.functional.one_hot(labels, {told}).to(x.dtype)", "        for part in self.parts:",
                  "            maps = hot if x.ndim == 2 else hot[:, :, None, None].expand(-1, -1, *x.shape[2:])",
                  "            x = part(torch.cat([x, maps], 1))"]
    else:
        lines += ["        for part in self.parts:", "            x = part(x)"]
    lines += ["        return x.permute(0, 2, 3, 1)" if images else "        return x"]
    labels = f"    labels = torch.arange(16) % {told}\n" if told else ""
    return "\n".join(lines) + TAIL.format(labels=labels, call=call, sample=sample.format(latent))


HEAD = '''\
"""A generator that minideconv trained, in plain PyTorch. Its latents are from {drawn}."""
from pathlib import Path

import numpy as np
import torch
from torch import nn


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([
'''

TAIL = '''

    @classmethod
    def load(cls, path=Path(__file__).with_name("weights.npz")):
        """The generator with its weights, in evaluation mode."""
        generator = cls()
        with np.load(path, allow_pickle=False) as file:
            generator.load_state_dict({{name: torch.from_numpy(file[name]) for name in file.files}})
        return generator.eval()


if __name__ == "__main__":
    latents = {sample}
{labels}    with torch.no_grad():
        images = Generator.load()({call})
    print(tuple(images.shape), float(images.min()), float(images.max()))
'''
