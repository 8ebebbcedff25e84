"""Small engines for tests: one product, round prices, a ladder one dollar apart."""

from collections.abc import Mapping
from decimal import Decimal

from simulator.engine.accounts import FEES_ACCOUNT, LIQUIDITY_ACCOUNT
from simulator.engine.book import Book, LadderSettings
from simulator.engine.engine import MatchingEngine
from simulator.engine.fees import FEE_TIERS
from simulator.engine.rules import ProductRules, rules_for
from simulator.engine.values import Order, OrderRequest, OrderType, Side, TimeInForce

PRODUCT = "BTC-USD"
ACCOUNTS = ("alice", "bob", "carol")
# At 100.00: bids 99.00, 98.00, ... and asks 101.00, 102.00, ... of about one BTC each.
LADDER = LadderSettings(Decimal(200), Decimal(100), levels=5, depth_quote=Decimal(100))


def rules() -> ProductRules:
    return rules_for(PRODUCT, Decimal(100))


def engine(balances: Mapping[str, tuple[str, str]] | None = None) -> MatchingEngine:
    """An engine at a price of 100; balances are (USD, BTC) of each account."""
    tiers = dict.fromkeys(ACCOUNTS, FEE_TIERS["vip"])
    made = MatchingEngine([Book(rules(), LADDER)], tiers, "trade-{}".format)
    for name, (usd, btc) in (balances or {"alice": ("1000", "10")}).items():
        made.ledger.add(name, "USD", Decimal(usd))
        made.ledger.add(name, "BTC", Decimal(btc))
    made.tick(PRODUCT, Decimal(100), Decimal(0), time_ms=1)
    made.take_changes()
    return made


def order(
    engine: MatchingEngine,
    side: Side,
    *,
    account: str = "alice",
    size: str | None = None,
    price: str | None = None,
    amount: str | None = None,
    time_in_force: TimeInForce = TimeInForce.GTC,
    post_only: bool = False,
) -> Order:
    """An order not yet submitted: a limit order when it has a price."""
    sequence = engine.next_sequence()
    is_market = price is None
    request = OrderRequest(
        client_order_id=f"client-{sequence}",
        product_id=PRODUCT,
        side=side,
        type=OrderType.MARKET if is_market else OrderType.LIMIT,
        time_in_force=TimeInForce.IOC if is_market else time_in_force,
        base_size=None if size is None else Decimal(size),
        quote_size=None if amount is None else Decimal(amount),
        limit_price=None if price is None else Decimal(price),
        post_only=post_only,
    )
    return Order(f"order-{sequence}", account, request, sequence, created_ms=2)


def sums(engine: MatchingEngine) -> dict[str, Decimal]:
    """All money there is, by currency."""
    totals: dict[str, Decimal] = {}
    for owner in (*ACCOUNTS, LIQUIDITY_ACCOUNT, FEES_ACCOUNT):
        for currency, balance in engine.ledger.balances(owner).items():
            totals[currency] = totals.get(currency, Decimal(0)) + balance.total
    return totals
