"""Trading rules of each product: increments and sizes, in the style of Coinbase."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from simulator.engine.values import OrderRefusedError, OrderRequest, OrderType, Refusal, Side


@dataclass(frozen=True)
class ProductRules:
    """What an order of this product must look like.

    Attributes:
        base_increment: Smallest step of a size in base currency.
        quote_increment: Smallest step of a size in quote currency.
        price_increment: Smallest step of a price.
        base_min_size: Smallest order in base currency.
        quote_min_size: Smallest order in quote currency.
    """

    product_id: str
    base: str
    quote: str
    base_name: str
    base_increment: Decimal
    quote_increment: Decimal
    price_increment: Decimal
    base_min_size: Decimal
    base_max_size: Decimal
    quote_min_size: Decimal
    quote_max_size: Decimal

    def price_down(self, price: Decimal) -> Decimal:
        """Round a price down to the increment."""
        return _floor(price, self.price_increment)

    def price_up(self, price: Decimal) -> Decimal:
        """Round a price up to the increment."""
        steps = (price / self.price_increment).to_integral_value(ROUND_CEILING)
        return steps * self.price_increment

    def size_down(self, size: Decimal) -> Decimal:
        """Round a base size down to the increment."""
        return _floor(size, self.base_increment)

    def check(self, request: OrderRequest) -> None:
        """Check precision and sizes of a request.

        Raises:
            OrderRefusedError: Naming the first rule broken.
        """
        is_market_buy = request.type is OrderType.MARKET and request.side is Side.BUY
        for refusal, is_broken in (
            (Refusal.UNSUPPORTED, request.quote_size is not None and not is_market_buy),
            (Refusal.PRICE_PRECISION, _is_off(request.limit_price, self.price_increment)),
            (Refusal.SIZE_PRECISION, _is_off(request.base_size, self.base_increment)),
            (Refusal.QUOTE_SIZE_PRECISION, _is_off(request.quote_size, self.quote_increment)),
            (Refusal.BASE_SIZE_TOO_SMALL, _is_below(request.base_size, self.base_min_size)),
            (Refusal.BASE_SIZE_TOO_LARGE, _is_below(self.base_max_size, request.base_size)),
        ):
            if is_broken:
                raise OrderRefusedError(refusal)
        value = request.quote_size
        if request.type is OrderType.LIMIT:
            assert request.base_size is not None
            assert request.limit_price is not None
            value = request.base_size * request.limit_price
        if _is_below(value, self.quote_min_size):
            raise OrderRefusedError(Refusal.QUOTE_SIZE_TOO_SMALL)
        if _is_below(self.quote_max_size, value):
            raise OrderRefusedError(Refusal.QUOTE_SIZE_TOO_LARGE)


def _floor(amount: Decimal, increment: Decimal) -> Decimal:
    return (amount / increment).to_integral_value(ROUND_FLOOR) * increment


def _is_off(amount: Decimal | None, increment: Decimal) -> bool:
    return amount is not None and amount % increment != 0


def _is_below(amount: Decimal | None, least: Decimal | None) -> bool:
    return amount is not None and least is not None and amount < least


# base: (name, base increment, price increment, smallest and largest order in base currency)
_KNOWN: Final = {
    "BTC": ("Bitcoin", "0.00000001", "0.01", "0.00000001", "3400"),
    "ETH": ("Ethereum", "0.00000001", "0.01", "0.00000001", "42000"),
    "SOL": ("Solana", "0.00000001", "0.01", "0.00000001", "200000"),
    "LTC": ("Litecoin", "0.00000001", "0.01", "0.00000001", "130000"),
    "XRP": ("XRP", "0.000001", "0.0001", "0.000001", "20000000"),
    "DOGE": ("Dogecoin", "0.1", "0.00001", "0.1", "150000000"),
    "ADA": ("Cardano", "0.00000001", "0.0001", "0.00000001", "25000000"),
    "AVAX": ("Avalanche", "0.00000001", "0.01", "0.00000001", "600000"),
    "LINK": ("Chainlink", "0.01", "0.001", "0.01", "1500000"),
    "BCH": ("Bitcoin Cash", "0.00000001", "0.01", "0.00000001", "25000"),
}
_FALLBACK_SIZES: Final = ("0.00000001", "0.00000001", "100000000")
_CASH: Final = frozenset({"USD", "USDC", "USDT", "EUR", "GBP"})
# increment, smallest and largest order in quote currency
_CASH_SIZES: Final = (Decimal("0.01"), Decimal(1), Decimal(150_000_000))
_COIN_SIZES: Final = (Decimal("0.00000001"), Decimal("0.0001"), Decimal(10_000))
# Price step for a typical price: about five significant digits.
_FALLBACK_STEPS: Final = ((100, "0.01"), (1, "0.0001"), (Decimal("0.01"), "0.000001"))
_SIGNIFICANT_DIGITS: Final = 5
# Below this price a coin trades in whole ones, by the million.
_CHEAP: Final = Decimal("0.0001")
_CHEAP_SIZES: Final = ("1", "1", "1000000000000000")


def currencies_of(product_id: str) -> tuple[str, str]:
    """Return base and quote currency; a replayed perpetual trades as spot against dollars."""
    base, _, quote = product_id.partition("-")
    return base, "USD" if quote == "PERP" else quote


def _step_of(price: Decimal) -> str:
    digits = max(8, _SIGNIFICANT_DIGITS - 1 - price.adjusted())
    return f"{Decimal(1).scaleb(-digits):f}"


def rules_for(product_id: str, typical_price: Decimal) -> ProductRules:
    """Return the rules of a product; an unknown one gets increments that suit its price."""
    base, quote = currencies_of(product_id)
    if base in _KNOWN and quote in _CASH:
        name, base_step, price_step, least, most = _KNOWN[base]
    else:
        steps = (step for floor, step in _FALLBACK_STEPS if typical_price >= floor)
        name, price_step = base, next(steps, None) or _step_of(typical_price)
        sizes = _CHEAP_SIZES if typical_price < _CHEAP else _FALLBACK_SIZES
        base_step, least, most = sizes
    quote_step, quote_least, quote_most = _CASH_SIZES if quote in _CASH else _COIN_SIZES
    return ProductRules(
        product_id=product_id,
        base=base,
        quote=quote,
        base_name=name,
        base_increment=Decimal(base_step),
        quote_increment=quote_step,
        price_increment=Decimal(price_step),
        base_min_size=Decimal(least),
        base_max_size=Decimal(most),
        quote_min_size=quote_least,
        quote_max_size=quote_most,
    )
