"""Decoding keypoints, held against mmpose's own codecs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.codecs import decode_heatmap, decode_heatmap_dark, decode_heatmap_udp, decode_movenet, decode_simcc

SIZE, MAP = (192, 256), (48, 64)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def codecs() -> Any:
    pytest.importorskip("mmengine", reason="mmpose absent: its codecs are the oracle here")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("mmpose.codecs", reason="mmpose absent: its codecs are the oracle here")


def _keypoints(seed: int, margin: float = 8.0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.uniform(margin, np.array(SIZE) - margin, (1, 17, 2)).astype(np.float32)


def _noisy(maps: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).uniform(0, 0.02, maps.shape)
    return (maps + noise).astype(np.float32)


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_simcc_is_mmposes(codecs: Any, seed: int) -> None:
    codec = codecs.SimCCLabel(SIZE, sigma=(4.9, 5.66), simcc_split_ratio=2.0, normalize=False)
    encoded = codec.encode(_keypoints(seed))
    x, y = (_noisy(encoded[f"keypoint_{axis}_labels"], seed) for axis in "xy")
    expected, scores = codec.decode(x.copy(), y.copy())
    keypoints, score = decode_simcc(x, y, 2.0)
    np.testing.assert_allclose(keypoints, expected, atol=1e-5)
    np.testing.assert_allclose(score, scores, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_heatmap_is_mmposes(codecs: Any, seed: int) -> None:
    codec = codecs.MSRAHeatmap(SIZE, MAP, sigma=2)
    maps = _noisy(codec.encode(_keypoints(seed, 0))["heatmaps"], seed)
    expected, scores = codec.decode(maps.copy())
    keypoints, score = decode_heatmap(maps[None], SIZE)
    np.testing.assert_allclose(keypoints, expected, atol=1e-4)
    np.testing.assert_allclose(score, scores, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_dark_is_mmposes(codecs: Any, seed: int) -> None:
    codec = codecs.MSRAHeatmap(SIZE, MAP, sigma=2, unbiased=True)
    maps = _noisy(codec.encode(_keypoints(seed))["heatmaps"], seed)
    expected, _ = codec.decode(maps.copy())
    keypoints, _ = decode_heatmap_dark(maps[None], SIZE)
    np.testing.assert_allclose(keypoints, expected, atol=2e-3)


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_udp_is_mmposes(codecs: Any, seed: int) -> None:
    codec = codecs.UDPHeatmap(SIZE, MAP, sigma=2)
    maps = _noisy(codec.encode(_keypoints(seed))["heatmaps"], seed)
    expected, _ = codec.decode(maps.copy())
    keypoints, _ = decode_heatmap_udp(maps[None], SIZE)
    np.testing.assert_allclose(keypoints, expected, atol=2e-3)


def _gaussians(cells: NDArray[np.floating]) -> NDArray[np.float32]:
    y, x = np.mgrid[: MAP[1], : MAP[0]]
    return np.exp(-((x - cells[..., 0, None, None]) ** 2 + (y - cells[..., 1, None, None]) ** 2) / 8).astype(np.float32)


@pytest.mark.parametrize(("decode", "last"), [(decode_heatmap_dark, 0), (decode_heatmap_udp, 1)])
def test_a_perfect_gaussian_is_read_to_a_hundredth_of_a_cell(decode: Any, last: int) -> None:
    cells = np.random.default_rng(3).uniform(10, 37, (2, 17, 2))
    keypoints, score = decode(_gaussians(cells), SIZE)
    unit = np.array(SIZE) / (np.array(MAP) - last)
    np.testing.assert_allclose(keypoints / unit, cells, atol=0.01)
    assert (score > 0.8).all()


@pytest.mark.parametrize("decode", [decode_heatmap, decode_heatmap_dark, decode_heatmap_udp])
def test_an_empty_map_scores_nothing_and_stays_finite(decode: Any) -> None:
    keypoints, score = decode(np.zeros((1, 17, 64, 48), np.float32), SIZE)
    assert np.isfinite(keypoints).all()
    assert (score == 0).all()


def test_people_are_decoded_independently() -> None:
    maps = _gaussians(np.random.default_rng(5).uniform(5, 40, (3, 17, 2)))
    together, _ = decode_heatmap_dark(maps, SIZE)
    alone = np.concatenate([decode_heatmap_dark(one[None], SIZE)[0] for one in maps])
    np.testing.assert_array_equal(together, alone)


def _movenet_maps(seed: int, people: int, height: int, width: int) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return [
        rng.normal(0, spread, (people, channels, height, width)).astype(np.float32)
        for channels, spread in ((17, 2.0), (34, 6.0), (1, 3.0), (34, 0.4))
    ]


def _movenet_step_by_step(heatmap: Any, regression: Any, centre: Any, offset: Any) -> Any:
    """One person's keypoints (17, 3) x, y in cells and score, as the published graph goes about it."""
    height, width = heatmap.shape[1:]

    def sigmoid(logit: float) -> float:
        return 1 / (1 + np.exp(-float(logit)))

    cells = [(y, x) for y in range(height) for x in range(width)]
    cy, cx = max(cells, key=lambda c: sigmoid(centre[0][c]) / (np.hypot(c[0] - height // 2, c[1] - width // 2) + 1.8))
    found = []
    for k in range(17):
        gy, gx = cy + regression[2 * k, cy, cx], cx + regression[2 * k + 1, cy, cx]
        y, x = max(cells, key=lambda c: sigmoid(heatmap[k][c]) / (np.hypot(c[0] - gy, c[1] - gx) + 1.8))
        found.append((x + offset[2 * k + 1, y, x], y + offset[2 * k, y, x], sigmoid(heatmap[k, y, x])))
    return np.array(found)


@settings(max_examples=10, deadline=None)
@given(seed=seeds, people=st.integers(1, 3), shape=st.sampled_from([(12, 12), (10, 14)]))
def test_movenet_is_read_for_many_people_as_for_one_step_by_step(
    seed: int, people: int, shape: tuple[int, int]
) -> None:
    maps = _movenet_maps(seed, people, *shape)
    keypoints, score = decode_movenet(*maps, (shape[1] * 4, shape[0] * 4))
    for person in range(people):
        expected = _movenet_step_by_step(*(one[person] for one in maps))
        np.testing.assert_allclose(keypoints[person], expected[:, :2] * 4, atol=1e-3)
        np.testing.assert_allclose(score[person], expected[:, 2], atol=1e-6)


def test_movenet_takes_the_person_in_the_middle() -> None:
    heatmap, regression, centre, offset = (np.zeros((1, c, 48, 48), np.float32) for c in (17, 34, 1, 34))
    heatmap -= 5
    centre -= 5
    for person in ((22, 25), (4, 6)):
        centre[0, 0, person[0], person[1]] = 5
        heatmap[0, :, person[0], person[1]] = 4
    keypoints, score = decode_movenet(heatmap, regression, centre, offset, (192, 192))
    np.testing.assert_allclose(keypoints[0], [(100, 88)] * 17)
    np.testing.assert_allclose(score, 1 / (1 + np.exp(-4)), atol=1e-6)
