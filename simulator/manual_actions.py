"""Manual actions: what account holders do at the venue, beside the bots that trade for them.

Faults do not meet it, and the venue keeps a list of it: a comparison of books can name what was
moved by them.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from simulator.engine.values import Order, OrderRequest
from simulator.exchange import Exchange
from simulator.store import Account, ManualAction


class ManualActionKind(StrEnum):
    """What was done."""

    ORDER = "order"
    CANCEL = "cancel"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"


class NotEnoughFundsError(Exception):
    """Less than that is available."""


@dataclass(frozen=True)
class ManualActions:
    """What the holder of one account does."""

    exchange: Exchange
    account: Account

    def place(self, request: OrderRequest, configuration: str) -> Order:
        """Place an order.

        Raises:
            OrderRefusedError: Nothing has changed.
        """
        with self.exchange.durable(always=True):
            order = self.exchange.place(self.account, request, configuration, is_manual=True)
            self._note(ManualActionKind.ORDER, order_id=order.order_id)
        return order

    def cancel(self, order_id: str) -> None:
        """Cancel an order of the account, its bots' orders included.

        Raises:
            OrderNotOpenError: There is nothing to cancel.
        """
        with self.exchange.durable(always=True):
            self.exchange.cancel(self.account, order_id, is_manual=True)
            self._note(ManualActionKind.CANCEL, order_id=order_id)

    def deposit(self, currency: str, amount: Decimal) -> None:
        """Pay in."""
        self._move(ManualActionKind.DEPOSIT, currency, amount)

    def withdraw(self, currency: str, amount: Decimal, to: Account | None = None) -> None:
        """Pay out, or move to another account of the venue.

        Raises:
            NotEnoughFundsError: Less is available; nothing has changed.
        """
        balance = self.exchange.balances(self.account.account_id).get(currency)
        if balance is None or balance.available < amount:
            raise NotEnoughFundsError(f"less than {amount:f} {currency} is available")
        with self.exchange.durable(always=True):
            self._move(ManualActionKind.WITHDRAWAL, currency, amount)
            if to is not None:
                ManualActions(self.exchange, to).deposit(currency, amount)

    def moves(self) -> list[ManualAction]:
        """Return everything that was done, oldest first."""
        return self.exchange.store.manual_actions(self.account.account_id)

    def _move(self, kind: ManualActionKind, currency: str, amount: Decimal) -> None:
        signed = amount if kind is ManualActionKind.DEPOSIT else -amount
        with self.exchange.durable(always=True):
            self.exchange.engine.ledger.add(self.account.account_id, currency, signed)
            self._note(kind, currency=currency, amount=amount)

    def _note(
        self,
        kind: ManualActionKind,
        *,
        order_id: str | None = None,
        currency: str | None = None,
        amount: Decimal | None = None,
    ) -> None:
        account_id, now_ms = self.account.account_id, self.exchange.now_ms
        move = ManualAction(account_id, kind, order_id, currency, amount, now_ms)
        self.exchange.store.add_manual_action(move)
