"""A plain vision transformer (Dosovitskiy et al. 2021) as ViTPose uses it: without a class token, a map out.

Weights bear the names that they have in mmpose's files of ViTPose, whose trunk is mmpretrain's.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_PATCH, _PADDING = 16, 2  # ViTPose's patches overlap the border by two pixels
_EPSILON = 1e-6


class Linear(nn.Linear):  # type: ignore[misc]
    """A linear layer that may keep its weights in half precision and still computes in the pictures' own."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


class _Attention(nn.Module):  # type: ignore[misc]
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(channels, 3 * channels)
        self.proj = Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        _, cells, channels = x.shape
        qkv = self.qkv(x).reshape(-1, cells, 3, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        weight = (query @ key.transpose(-2, -1) * (channels // self.heads) ** -0.5).softmax(-1)
        answer: Tensor = self.proj((weight @ value).transpose(1, 2).reshape(-1, cells, channels))
        return answer


class _FeedForward(nn.Module):  # type: ignore[misc]
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Sequential(Linear(channels, hidden), nn.GELU()), Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.layers(x)
        return answer


class _Layer(nn.Module):  # type: ignore[misc]
    def __init__(self, channels: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.ln1 = nn.LayerNorm(channels, eps=_EPSILON)
        self.attn = _Attention(channels, heads)
        self.ln2 = nn.LayerNorm(channels, eps=_EPSILON)
        self.ffn = _FeedForward(channels, 4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._dropped(self.attn(self.ln1(x)))
        return x + self._dropped(self.ffn(self.ln2(x)))

    def _dropped(self, x: Tensor) -> Tensor:
        """Stochastic depth (Huang et al. 2016): for some samples the branch is left out, while training."""
        if not self.training or not self.drop_path:
            return x
        kept = torch.rand(len(x), 1, 1, device=x.device) >= self.drop_path
        return x * kept / (1 - self.drop_path)


class VisionTransformer(nn.Module):  # type: ignore[misc]
    """Pictures (B, 3, height, width) to one map (B, channels, height / 16, width / 16), in a tuple of one."""

    def __init__(
        self, *, channels: int, layers: int, heads: int, drop_path: float, width: int, height: int
    ) -> None:  # fmt: skip
        super().__init__()
        self._cells = (height // _PATCH, width // _PATCH)
        self.patch_embed = nn.ModuleDict(
            {"projection": nn.Conv2d(3, channels, _PATCH, stride=_PATCH, padding=_PADDING)}
        )
        self.pos_embed = nn.Parameter(torch.zeros(1, self._cells[0] * self._cells[1], channels))
        rates = torch.linspace(0, drop_path, layers).tolist()
        self.layers = nn.ModuleList(_Layer(channels, heads, rate) for rate in rates)
        self.ln1 = nn.LayerNorm(channels, eps=_EPSILON)

    def init_weights(self) -> None:
        """Draw the weights as the method's authors do: normal, cut off, with a deviation of 0.02."""
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def halve(self) -> None:
        """Keep the linear layers' weights in half precision: nine tenths of all numbers."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.half()

    def forward(self, pictures: Tensor) -> tuple[Tensor]:
        patches: Any = self.patch_embed["projection"](pictures)
        x = patches.flatten(2).transpose(1, 2) + self.pos_embed
        for layer in self.layers:
            x = layer(x)
        return (self.ln1(x).transpose(1, 2).unflatten(2, self._cells),)
