"""Money as integers of minor units, and its exact way from and to JSON's decimal numbers (G23, G24)."""

from decimal import Decimal
from typing import Final

from svckit.errors import invalid

_ZERO: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR: Final = "CLF UYW"
_EXPONENTS: Final = {code: digits for codes, digits in ((_ZERO, 0), (_THREE, 3), (_FOUR, 4)) for code in codes.split()}
_MAX_DIGITS: Final = 15


def exponent(currency: str) -> int:
    """Decimals of an ISO 4217 currency."""
    return _EXPONENTS.get(currency, 2)


def minor(amount: float, currency: str, field: str) -> int:
    """`amount` in minor units, read through its shortest decimal form. Raises INVALID_REQUEST naming `field` for more
    decimals than the currency has, or more than 15 significant digits, which a JSON number does not carry exactly."""
    exact = Decimal(repr(amount))
    shifted = exact.scaleb(exponent(currency))
    if len(exact.normalize().as_tuple().digits) > _MAX_DIGITS or abs(shifted) >= 2**53:
        raise invalid(**{field: "has more than 15 significant digits"})
    if shifted != shifted.to_integral_value():
        raise invalid(**{field: f"has more decimals than {currency} has"})
    return int(shifted)


def major(amount_minor: int, currency: str) -> float:
    """Minor units as the decimal number that JSON shows."""
    return float(Decimal(amount_minor).scaleb(-exponent(currency)))
