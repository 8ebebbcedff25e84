"""Balances with holds: never negative, and conserved by every trade.

The synthetic liquidity and the fee income have accounts of their own, so that the sum over all
accounts of a currency is at all times exactly what was deposited. Only the liquidity's may be
negative: it trades from an endless purse.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from simulator.engine.values import ZERO, OrderRefusedError, Refusal

LIQUIDITY_ACCOUNT: Final = "venue:liquidity"
FEES_ACCOUNT: Final = "venue:fees"


@dataclass(slots=True)
class Balance:
    """An amount of one currency: all of it, and the part held for open orders."""

    total: Decimal = ZERO
    held: Decimal = ZERO

    @property
    def available(self) -> Decimal:
        """What a new order may use."""
        return self.total - self.held


class Ledger:
    """The balances of all accounts."""

    def __init__(self) -> None:
        self._accounts: dict[str, dict[str, Balance]] = {}
        self.changed: set[tuple[str, str]] = set()

    def balance(self, account_id: str, currency: str) -> Balance:
        """Return the balance, zero when there never was one."""
        return self.balances(account_id).get(currency) or Balance()

    def balances(self, account_id: str) -> dict[str, Balance]:
        """Return all balances of an account by currency."""
        return self._accounts.get(account_id, {})

    def restore(self, account_id: str, currency: str, balance: Balance) -> None:
        """Put back a stored balance, without marking it as changed."""
        self._accounts.setdefault(account_id, {})[currency] = balance

    def hold(self, account_id: str, currency: str, amount: Decimal) -> None:
        """Reserve funds for an order.

        Raises:
            OrderRefusedError: Less than that is available; nothing has changed.
        """
        if self.balance(account_id, currency).available < amount:
            raise OrderRefusedError(Refusal.INSUFFICIENT_FUNDS)
        self._change(account_id, currency, held=amount)

    def release(self, account_id: str, currency: str, amount: Decimal) -> None:
        """Give back reserved funds."""
        self._change(account_id, currency, held=-amount)

    def add(self, account_id: str, currency: str, amount: Decimal) -> None:
        """Credit an account, or debit it by a negative amount."""
        self._change(account_id, currency, total=amount)

    def _change(
        self, account_id: str, currency: str, *, total: Decimal = ZERO, held: Decimal = ZERO
    ) -> None:
        balance = self._accounts.setdefault(account_id, {}).setdefault(currency, Balance())
        balance.total += total
        balance.held += held
        self.changed.add((account_id, currency))
        if account_id != LIQUIDITY_ACCOUNT:
            assert balance.held >= 0, f"negative hold: {account_id} {currency} {balance}"
            assert balance.available >= 0, f"overdrawn: {account_id} {currency} {balance}"
