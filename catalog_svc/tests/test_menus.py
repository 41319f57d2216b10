"""What a recipient may choose from, as fulfillment_svc asks for it."""

from typing import Any

from rewards.catalog.v1 import rewards_pb2 as pb
from rewards.catalog.v1 import stock_pb2

from catalog_svc.tests.conftest import OPERATOR, PROGRAM, Catalog, Large, reward

_CARD: dict[str, Any] = {"kind": pb.Reward.OPEN_LOOP, "brand": "Visa", "category": "cards", "countries": ["US"]}
_ANY = pb.MenuChoice()


async def _menu(catalog: Catalog, *choices: pb.MenuChoice, countries: tuple[str, ...] = (), **asked: Any) -> list[str]:
    menu = pb.Menu(choices=choices, countries=countries)
    request = pb.ListMenuRequest(program_id=PROGRAM, menu=menu, **({"currency": "USD"} | asked))
    return [shown.reward_id for shown in (await catalog.quotes.ListMenu(request)).rewards]


async def test_a_menu_is_what_any_of_its_choices_finds(catalog: Catalog) -> None:
    await catalog.put(
        reward("books"), reward("cafe", brand="Kaffa", category="food", countries=["GB"]), reward("visa", **_CARD)
    )
    kaffa, cards = pb.MenuChoice(brands=["KAFFA"]), pb.MenuChoice(kind=pb.Reward.OPEN_LOOP)
    assert await _menu(catalog, _ANY, kaffa) == ["books", "cafe", "visa"]
    assert await _menu(catalog, kaffa, cards) == ["cafe", "visa"]
    assert await _menu(catalog, kaffa, cards, country="GB") == ["cafe"]
    assert await _menu(catalog, _ANY, countries=("DE", "GB")) == ["books", "cafe"]
    assert await _menu(catalog, pb.MenuChoice(categories=["food"], brands=["Visa"])) == []
    assert await _menu(catalog, pb.MenuChoice(brands=["visa"], kind=pb.Reward.CLOSED_LOOP)) == []
    assert await _menu(catalog, _ANY, reward_id="visa") == ["visa"]
    assert await _menu(catalog, _ANY, currency="EUR") == []


async def test_what_cannot_be_had_now_is_on_no_menu(catalog: Catalog) -> None:
    gone, sold_out = pb.Reward.WITHDRAWN, pb.Reward.OUT_OF_STOCK
    await catalog.put(
        reward("a"), reward("b", availability=gone), reward("c", availability=sold_out), reward("d"), reward("e")
    )
    await catalog.operated.SetStock(
        stock_pb2.SetStockRequest(program_id=PROGRAM, reward_id="d", units=0), metadata=OPERATOR
    )
    await catalog.operated.SetStock(
        stock_pb2.SetStockRequest(program_id=PROGRAM, reward_id="e", units=1), metadata=OPERATOR
    )
    assert await _menu(catalog, _ANY) == ["a", "e"]


async def test_a_menu_of_a_large_catalog_is_paged_without_a_gap(large: Large) -> None:
    listed = [one for one in large.generated.rewards if one.currency == "USD" and "US" in one.countries]
    brands = sorted({one.brand for one in listed})[:40]
    wanted = sorted(
        one.reward_id
        for one in listed
        if (one.brand in brands or one.category == "food")
        and one.availability in (pb.Reward.AVAILABLE, pb.Reward.AVAILABILITY_UNSPECIFIED)
    )
    choices = [pb.MenuChoice(brands=[brand.upper() for brand in brands]), pb.MenuChoice(categories=["food"])]
    request = pb.ListMenuRequest(
        program_id=PROGRAM, menu=pb.Menu(choices=choices), country="US", currency="USD", page_size=7
    )
    found: list[str] = []
    while True:
        page = await large.catalog.quotes.ListMenu(request)
        found += [shown.reward_id for shown in page.rewards]
        request.after = page.next_after
        if not page.next_after:
            break
    assert found == wanted
    assert len(found) > request.page_size
