"""Blankets lie on what they cover, and say how much that is."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.bed import Bed
from synth.render.mesh import Mesh
from synth.ward import shapes
from synth.ward.bed import BedLook, build_bed
from synth.ward.blanket import ARRANGEMENTS, Blanket, HeightMap, coverage_of, lay_blanket
from synth.ward.shapes import Surface

BED = Bed()
PLAIN = Surface((0.5, 0.5, 0.6))


def sleeper() -> list[Mesh]:
    parts = [
        ((-0.8, -0.1, 0.0), (-0.58, 0.1, 0.2)),
        ((-0.58, -0.2, 0.0), (0.05, 0.2, 0.2)),
        ((0.05, -0.18, 0.0), (0.85, -0.04, 0.14)),
        ((0.05, 0.04, 0.0), (0.85, 0.18, 0.14)),
    ]
    return [shapes.rounded_box(low, high, 0.06, Surface((0.4, 0.3, 0.25))) for low, high in parts]


def lay(seed: int, coverage: float, arrangement: str = "flat", bed: Bed = BED, railed: bool = False) -> Blanket:
    support = build_bed(bed, BedLook(boards=False))
    return lay_blanket(
        np.random.default_rng(seed),
        bed,
        sleeper(),
        support,
        PLAIN,
        PLAIN,
        coverage=coverage,
        arrangement=arrangement,
        railed=railed,
    )


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_blanket_lies_above_body_and_mattress(arrangement: str, seed: int) -> None:
    blanket = lay(seed, 0.6, arrangement)
    beneath = HeightMap.over([*sleeper(), *build_bed(BED, BedLook(boards=False))], BED)
    above = HeightMap.over(blanket.meshes, BED)
    both = (above.heights > -0.02) & (beneath.heights > -0.02)
    assert both.sum() > 1000
    poking = (beneath.heights > above.heights)[both]
    assert poking.mean() < 0.005
    assert (beneath.heights - above.heights)[both].max() < 0.03


def test_the_cloth_rests_on_the_body_instead_of_floating() -> None:
    blanket = lay(3, 0.7)
    beneath = HeightMap.over([*sleeper(), *build_bed(BED, BedLook(boards=False))], BED)
    above = HeightMap.over(blanket.meshes, BED)
    trunk = (beneath.heights > 0.17) & (above.heights > 0)
    assert np.median((above.heights - beneath.heights)[trunk]) < 0.04


@pytest.mark.parametrize("wanted", [0.3, 0.55, 0.8])
def test_the_coverage_reported_is_about_what_was_asked_for(wanted: float) -> None:
    assert lay(5, wanted).coverage == pytest.approx(wanted, abs=0.12)


def test_more_is_covered_when_more_is_asked_for() -> None:
    covered = [lay(2, wanted).coverage for wanted in (0.2, 0.5, 0.8)]
    assert covered == sorted(covered)
    assert covered[0] < covered[2]


def test_a_kicked_blanket_covers_less() -> None:
    assert lay(4, 0.8, "kicked_aside").coverage < lay(4, 0.8).coverage


def test_a_folded_blanket_shows_its_lining_above_itself() -> None:
    for seed in (1, 2, 3):
        blanket = lay(seed, 0.6, "folded_back")
        assert len(blanket.meshes) == 2
        outside, fold = (HeightMap.over([mesh], BED).heights for mesh in blanket.meshes)
        both = (outside > -50) & (fold > -50)
        # At the edge of a hanging fold a cell of the map may hold the one's top and the other's hem.
        assert (fold > outside)[both].mean() > 0.99


def test_cloth_hangs_beside_the_bed_but_not_beyond_rails() -> None:
    free, railed = (np.concatenate([m.vertices for m in lay(6, 0.7, railed=r).meshes]) for r in (False, True))
    assert free[:, 2].min() < -0.05
    assert np.abs(railed[:, 1]).max() <= BED.width / 2 + 0.05


def test_a_blanket_follows_a_raised_backrest() -> None:
    bed = Bed(backrest_deg=40)
    blanket = lay(2, 0.9, bed=bed)
    beneath = HeightMap.over(build_bed(bed, BedLook(boards=False)), bed)
    above = HeightMap.over(blanket.meshes, bed)
    both = (above.heights > 0.1) & (beneath.heights > 0.1)
    assert both.sum() > 200
    assert (above.heights > beneath.heights)[both].mean() > 0.99


def test_a_sitter_keeps_the_blanket_in_the_lap_without_spikes() -> None:
    trunk = shapes.rounded_box((-0.3, -0.2, 0.0), (-0.05, 0.2, 0.6), 0.06, PLAIN)
    head = shapes.rounded_box((-0.15, -0.1, 0.65), (0.1, 0.1, 0.88), 0.06, PLAIN)  # leans out over the lap
    legs = shapes.rounded_box((-0.1, -0.18, 0.0), (0.8, 0.18, 0.14), 0.06, PLAIN)
    support = build_bed(BED, BedLook(boards=False))
    blanket = lay_blanket(
        np.random.default_rng(0), BED, [trunk, head, legs], support, PLAIN, PLAIN, coverage=0.7, arrangement="flat"
    )
    mesh = blanket.meshes[0]
    a, b = mesh.vertices[mesh.triangles[:, 0]], mesh.vertices[mesh.triangles[:, 1]]
    edges = np.linalg.norm(a - b, axis=1)
    assert edges.max() < 0.15  # a point caught by the head would be drawn out by half a metre
    assert mesh.vertices[:, 2].max() < 0.62


def test_coverage_counts_cells_under_the_blanket() -> None:
    body = HeightMap(np.full((10, 10), -100, np.float32), 0, 0)
    body.heights[2:6, 2:7] = 0.1
    cover = HeightMap(np.full((10, 10), -100, np.float32), 0, 0)
    cover.heights[2:4] = 0.2
    cover.heights[4] = 0.05
    assert coverage_of(body, cover) == pytest.approx(0.5)


@pytest.mark.parametrize(("coverage", "arrangement"), [(1.5, "flat"), (0.5, "levitating")])
def test_impossible_blankets_are_refused(coverage: float, arrangement: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        lay(0, coverage, arrangement)
