import numpy as np
import pytest

from paincore.attention import regions
from paincore.registration.frontal import view_points
from paincore.registration.landmarker import points_68


@pytest.mark.parametrize("size", [96, 224])
def test_regions_fill_the_view_once(size):
    found = regions.region_masks(size)
    assert tuple(found) == regions.REGION_NAMES
    assert (np.sum(list(found.values()), axis=0) == 1).all()
    assert all(found[name].any() for name in regions.REGION_NAMES)


def test_every_region_lies_where_an_independent_landmark_says():
    """The 68 points of Multi-PIE know nothing of the outlines."""
    points = view_points(points_68(regions.canonical_face()), 448)[:, :2]
    found = regions.region_masks(448)

    def region(x: float, y: float) -> str:
        return next(name for name in regions.REGION_NAMES if found[name][round(y), round(x)])

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
    assert region(*points[8] - [0, 12]) == regions.REST  # the chin
    assert region(5, 5) == regions.OUTSIDE


def test_a_patch_counts_for_its_regions_by_area():
    patches, size = 6, 96
    found = regions.region_masks(size)
    rng = np.random.default_rng(0)
    maps = rng.random((3, 2, patches, patches)).astype(np.float32)
    for sample, one in enumerate(maps):
        pixels = np.kron(one.sum(0), np.ones((16, 16)))
        expected = [pixels[found[name]].sum() / pixels.sum() for name in regions.REGION_NAMES]
        np.testing.assert_allclose(regions.proportions(maps)[sample], expected, rtol=1e-6)
