import numpy as np
import pytest

from paincore.attention.regions import (
    AU_REGIONS,
    NAMES,
    OUTSIDE,
    REGIONS,
    REST,
    areas,
    canonical_face,
    masks,
    shares,
)
from paincore.registration.frontal import view_points
from paincore.registration.landmarker import points_68


@pytest.mark.parametrize("size", [96, 224])
def test_regions_fill_the_view_once(size):
    found = masks(size)
    assert tuple(found) == NAMES
    assert (np.sum(list(found.values()), axis=0) == 1).all()
    assert all(found[name].any() for name in NAMES)


def test_every_region_lies_where_an_independent_landmark_says():
    """The 68 points of Multi-PIE know nothing of the outlines."""
    points = view_points(points_68(canonical_face()), 448)[:, :2]
    found = masks(448)

    def region(x: float, y: float) -> str:
        return next(name for name in NAMES if found[name][round(y), round(x)])

    for brow in (slice(18, 21), slice(23, 26)):  # the middle three points of each brow
        assert {region(*point) for point in points[brow]} == {"brow"}
    for eye in (slice(36, 42), slice(42, 48)):
        x, y = points[eye].mean(0)
        width = np.ptp(points[eye, 0])
        assert region(x, y) == "eyes"
        assert region(x, y + 0.35 * width) == region(x, y - 0.35 * width) == "orbit"
        assert region(x, y + 1.1 * width) == "cheek"
    assert region(*points[30]) == region(*points[28]) == "nose"
    assert region(*(points[33] + points[51]) / 2) == "upper lip"
    assert region(*points[8] - [0, 12]) == REST  # the chin
    assert region(5, 5) == OUTSIDE


def test_both_sides_of_the_face_have_the_same_regions():
    """The canonical face is symmetric; half a pixel of drawing may be not."""
    for name, mask in masks(448).items():
        assert (mask != mask[:, ::-1]).sum() < 0.06 * mask.sum(), name


def test_an_even_map_has_the_shares_of_the_areas():
    for patches in (6, 14):
        even = np.ones((2, 4, patches, patches), np.float32)
        np.testing.assert_allclose(shares(even), [areas(patches)] * 2)
        assert areas(patches).sum() == pytest.approx(1)
        sizes = [mask.mean() for mask in masks(patches * 16).values()]
        np.testing.assert_allclose(areas(patches), sizes)


def test_a_patch_counts_for_its_regions_by_area():
    patches, size = 6, 96
    found = masks(size)
    rng = np.random.default_rng(0)
    maps = rng.random((3, 2, patches, patches)).astype(np.float32)
    for sample, one in enumerate(maps):
        pixels = np.kron(one.sum(0), np.ones((16, 16)))
        expected = [pixels[found[name]].sum() / pixels.sum() for name in NAMES]
        np.testing.assert_allclose(shares(maps)[sample], expected, rtol=1e-6)


def test_an_empty_map_has_no_shares():
    assert np.isnan(shares(np.zeros((1, 1, 6, 6)))).all()


def test_action_units_show_in_regions_that_there_are():
    assert set(AU_REGIONS) == {4, 6, 7, 9, 10, 43}
    assert {name for names in AU_REGIONS.values() for name in names} == set(REGIONS)
