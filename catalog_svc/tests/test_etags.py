"""When a listing counts as unchanged (RFC 9110, section 13.1.2)."""

import pytest

from catalog_svc.etags import etag, matches
from catalog_svc.rules import Rate

NOW = etag(3, Rate("USD", 80), b"question")


@pytest.mark.parametrize("header", [NOW, NOW.removeprefix("W/"), f'"other", {NOW}', "*"])
def test_the_same_tag_matches_weakly(header: str) -> None:
    assert matches(header, NOW)


@pytest.mark.parametrize("header", ["", '"other"', NOW[:-2], '""'])
def test_another_does_not(header: str) -> None:
    assert not matches(header, NOW)


@pytest.mark.parametrize(
    "other",
    [
        etag(4, Rate("USD", 80), b"question"),
        etag(3, Rate("USD", 81), b"question"),
        etag(3, Rate("EUR", 80), b"question"),
        etag(3, Rate("USD", 80), b"another"),
    ],
)
def test_every_part_of_the_answer_counts(other: str) -> None:
    assert other != NOW
