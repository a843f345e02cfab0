"""The order that the examples publish, and a way to make up realistic ones."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

__all__ = ["CATALOGUE", "DISCONTINUED", "Currency", "Order", "make_order"]

Currency = Literal["EUR", "USD", "GBP", "CHF", "SEK", "PLN"]


class Order(BaseModel):
    """One line of a web shop's orders."""

    order_id: Annotated[str, Field(pattern=r"^ord-[0-9]{6}$")]
    customer: Annotated[str, Field(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
    sku: Annotated[str, Field(pattern=r"^[A-Z]{3}-[A-Z0-9]+(-[A-Z0-9]+)*$")]
    quantity: Annotated[int, Field(gt=0, le=1_000)]
    price: Annotated[Decimal, Field(gt=0, max_digits=9, decimal_places=2)]
    currency: Currency
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    placed_at: AwareDatetime


CATALOGUE: dict[str, Decimal] = {
    "TEA-EARLGREY-100": Decimal("7.90"),
    "TEA-SENCHA-250": Decimal("16.50"),
    "TEA-ROOIBOS-200": Decimal("8.40"),
    "TEA-POT-CASTIRON": Decimal("64.00"),
    "COF-ETHIOPIA-500": Decimal("14.90"),
    "COF-HOUSEBLEND-1KG": Decimal("22.00"),
    "COF-GRINDER-HAND": Decimal("89.00"),
    "COF-FILTER-V60": Decimal("6.20"),
    "CUP-STONEWARE-BLUE": Decimal("18.00"),
    "CUP-STONEWARE-SAND": Decimal("18.00"),
    "CUP-GLASS-DOUBLE": Decimal("12.75"),
    "CUP-ENAMEL-RED": Decimal("11.30"),
    "BOK-BREAD-BASICS": Decimal("29.95"),
    "BOK-TEA-ATLAS": Decimal("38.50"),
    "KIT-SCALE-01G": Decimal("24.90"),
    "KIT-THERMOMETER": Decimal("19.90"),
    "KIT-KETTLE-GOOSE": Decimal("54.90"),
    "GFT-CARD-25": Decimal("25.00"),
    "GFT-HAMPER-SMALL": Decimal("45.00"),
    "CUP-PAPER-50": Decimal("4.10"),
}
"""What the shop sells, and for how much."""

DISCONTINUED = frozenset({"CUP-PAPER-50"})
"""Still in old carts, sold no more: an order for one of these cannot be fulfilled."""

_COUNTRIES: dict[str, Currency] = {
    "DE": "EUR", "FR": "EUR", "NL": "EUR", "ES": "EUR", "IE": "EUR", "FI": "EUR",
    "US": "USD", "GB": "GBP", "CH": "CHF", "SE": "SEK", "PL": "PLN",
}  # fmt: skip
_RATES: dict[Currency, Decimal] = {
    "EUR": Decimal(1),
    "USD": Decimal("1.09"),
    "GBP": Decimal("0.85"),
    "CHF": Decimal("0.96"),
    "SEK": Decimal("11.30"),
    "PLN": Decimal("4.28"),
}
_FIRST = (
    "mara", "jonas", "ines", "oskar", "lena", "piotr", "aoife", "hugo", "signe", "tariq",
    "noor", "elif", "matteo", "wanda", "yusuf", "clara", "anders", "beatriz", "kofi", "ruth",
)  # fmt: skip
_LAST = (
    "lindqvist", "baumann", "moreau", "kowalska", "obrien", "jansen", "garcia", "virtanen",
    "meier", "hughes", "nowak", "rossi", "keller", "svensson", "dubois", "carter", "ahmed",
)  # fmt: skip
_OPENING = datetime(2025, 3, 3, 6, 0, tzinfo=UTC)


def make_order(number: int, rng: random.Random, *, sku: str | None = None) -> Order:
    """A realistic order: ``number`` is its order id, 0 to 999,999; ``rng`` decides the rest.

    Example:
        >>> make_order(17, random.Random(1)).order_id
        'ord-000017'
    """
    chosen = sku or rng.choice([item for item in CATALOGUE if item not in DISCONTINUED])
    country = rng.choice(list(_COUNTRIES))
    currency = _COUNTRIES[country]
    price = (CATALOGUE[chosen] * _RATES[currency]).quantize(Decimal("0.01"))
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    return Order(
        order_id=f"ord-{number:06d}",
        customer=f"{first}.{last}{rng.randrange(1, 100)}@example.com",
        sku=chosen,
        quantity=rng.choice((1, 1, 1, 1, 2, 2, 3, 4, 6, 12)),
        price=price,
        currency=currency,
        country=country,
        placed_at=_OPENING + timedelta(seconds=number * 19 + rng.randrange(19)),
    )
