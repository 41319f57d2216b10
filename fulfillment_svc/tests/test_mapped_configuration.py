"""The file of providers: what fits is read whole, and what does not stops the start with the name of the field."""

import copy
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from fulfillment_svc.providers.mapped import configuration
from fulfillment_svc.tests import mapped

URL = "https://api.giftly.example/v2"


def changed(path: str, value: object) -> dict[str, Any]:
    """The description with this at the path; None takes it away."""
    described = copy.deepcopy(mapped.provider(URL))
    *way, last = path.split(".")
    place: Any = described
    for name in way:
        place = place[int(name) if name.isdecimal() else name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return described


def fault(tmp_path: Path, *providers: dict[str, Any]) -> str:
    """What the start stops with."""
    file = tmp_path / "providers.toml"
    file.write_text(mapped.toml(*providers))
    with pytest.raises(SystemExit) as caught:
        configuration.read(file, allow_http=False)
    return str(caught.value).removeprefix(f"{file}.")


def test_the_example_of_the_documentation_is_one(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", configuration.__doc__ or "", re.DOTALL)
    assert example is not None
    (tmp_path / "key").write_text("the-key\n")
    (tmp_path / "callbacks").write_text("c2VjcmV0 b2xk\n")
    file = tmp_path / "providers.toml"
    file.write_text(textwrap.dedent(example[1]).replace("/run/secrets/giftly-", f"{tmp_path}/"))
    (one,) = configuration.read(file, allow_http=False)
    assert (one.name, one.serves.items_max, one.callback_secrets) == ("giftly", 1, ("c2VjcmV0", "b2xk"))
    assert one.described is not None
    assert one.described.order.headers["authorization"] == "Bearer the-key"
    assert (one.described.timeout_s, one.described.pending_s) == (4, 3600)
    assert "the-" not in repr(one)
    assert "c2Vj" not in repr(one)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("name", "Giftly", "name must be a text like"),
        ("name", "sandbox", "name sandbox is taken"),
        ("adapter", "soap", "adapter must be"),
        ("countries", ["GBR"], "countries must be a list"),
        ("countries", "GB", "countries must be a list"),
        ("items_max", 0, "items_max must be a number from 1 to 100"),
        ("idempotent", None, "idempotent is missing"),
        ("idempotent", "yes", "idempotent must be true or false"),
        ("visibility_s", True, "visibility_s must be a number"),
        ("timeout_s", 9, "timeout_s must be a number from 0.1 to 8"),
        ("colour", "red", "colour is not known here"),
        ("headers", {"authorization": "Bearer {secret.key}"}, "headers.authorization names {secret.key}"),
        ("headers", {"x y": "z"}, "headers.x y is no name of a header"),
        ("headers", {"x": "a\nb"}, "headers.x must be a text"),
        ("secrets", {"key": "/none"}, "secrets.key names /none, which cannot be read"),
        ("callback_secret_file", "/none", "callback_secret_file names /none"),
        ("callback_secret_file", __file__, f"callback_secret_file names {__file__}, which holds no text of one line"),
        ("order.method", "PUT", "order.method is not known here"),
        ("order.url", "http://api.giftly.example/v2", "order.url must be https on port 443"),
        ("order.url", "https://api.giftly.example:8443/", "order.url must be https on port 443"),
        ("order.url", "https://{country}.giftly.example/v2", "order.url must not have a name in its host"),
        ("order.url", "https://api.giftly.example@evil.example/", "order.url is no plain URL"),
        ("order.url", "https://api.giftly.example/{item.number}", "order.url names {item.number}"),
        ("order.body", {"id": "{refernce}"}, "order.body names {refernce}, which there is not"),
        ("order.body", {"id": "1"}, "order must send {reference}"),
        ("query.url", "https://api.giftly.example/v2/orders", "query must send {reference}"),
        ("query.method", "DELETE", "query.method must be a text like GET|POST"),
        ("answers", [], "answers must be a list of tables, one at least"),
        ("answers.0.says", "maybe", "answers[0].says must be"),
        ("answers.0.http", [200, 500], "answers[0].http cannot mean issued outside of 2xx and 4xx"),
        ("answers.1.http", [302], "answers[1].http cannot mean rejected"),
        ("answers.1.http", "422", "answers[1].http must be a list of HTTP statuses"),
        ("answers.0.where", {"status": "ISSUED"}, "answers[0].where must compare something with {reference}"),
        ("answers.1.where", {"status": "REJECTED"}, "answers[1].where must compare something with {reference}"),
        ("answers.0.where", {"id": "{reference}", "x": []}, "answers[0].where.x must be a value"),
        ("answers.0.where", {"id": "{reference}", "x": "{item.number}"}, "answers[0].where.x names {item.number}"),
        ("answers.1.code", "code", "answers[1].code is not known here"),
    ],
)
def test_a_fault_names_its_field(tmp_path: Path, path: str, value: object, named: str) -> None:
    assert fault(tmp_path, changed(path, value)).startswith(f"provider[0].{named}")


@pytest.mark.parametrize("secret", ["a", "!", "c2VjcmV0 a", "geheim é"])
def test_a_secret_that_signs_nothing_is_told(tmp_path: Path, secret: str) -> None:
    (tmp_path / "callbacks").write_text(secret)
    described = changed("callback_secret_file", str(tmp_path / "callbacks"))
    text = "provider[0].callback_secret_file names a file that holds no secrets in base64"
    assert fault(tmp_path, described) == text


def test_a_name_is_of_one_provider(tmp_path: Path) -> None:
    assert fault(tmp_path, mapped.provider(URL), mapped.provider(URL)) == "provider has giftly twice"


def test_a_person_needs_no_address(tmp_path: Path) -> None:
    (one,) = mapped.configured(tmp_path, {"name": "desk", "adapter": "by_hand", "kinds": ["OPEN_LOOP"]})
    assert one.described is None
    with_url = {"name": "desk", "adapter": "by_hand", "order": {"url": URL}}
    assert fault(tmp_path, with_url) == "provider[0].order is not known here"


@pytest.mark.parametrize("text", ["", "provider = 1", "[[provider]", "provider = []\nmore = 1"])
def test_a_file_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "providers.toml"
    file.write_text(text)
    with pytest.raises(SystemExit, match=re.escape(str(file))):
        configuration.read(file, allow_http=False)
