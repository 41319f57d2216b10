"""How a recipient can be paid, as partners ask for it over REST."""

import pytest

from tests.mesh.conftest import Api


async def test_a_partner_learns_how_recipients_in_a_country_are_paid(api: Api) -> None:
    answer = await api.call("GET", "/v1/payoutMethods?country=DE")
    methods = answer.result["methods"]
    assert {"CLOSED_LOOP", "CASHBACK"} <= {one["kind"] for one in methods}
    assert {one["currency"] for one in methods} == {"EUR"}
    for one in methods:
        assert set(one) == {"kind", "currency", "brands", "min", "max", "membersOnly"}
        assert one["brands"] > 0
        assert 0 < one["min"] <= one["max"]
    assert (await api.call("GET", "/v1/payoutMethods?country=GB")).result["methods"]
    nowhere = await api.call("GET", "/v1/payoutMethods?country=AQ")
    assert (nowhere.status, nowhere.result) == (200, {"methods": []}), "it is a country, and nothing is left for it"


@pytest.mark.parametrize("country", ["UK", "EU", "gb", ""])
async def test_what_is_no_country_is_told_so(api: Api, country: str) -> None:
    answer = await api.call("GET", f"/v1/payoutMethods?country={country}")
    assert (answer.status, answer.code) == (400, 1000)
    assert [one["field"] for one in answer.result["details"]["fieldViolations"]] == ["country"]
