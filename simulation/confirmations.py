"""What callers were told and may rely on: from a confirmed answer until the call that undoes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from domain.orders import Side
from simulation.venue import Sent
from simulation.violations import Violation

Forbids = Callable[[Sent], bool]


@dataclass(slots=True)
class Confirmation:
    """No entry that it forbids leaves after it was confirmed.

    Attributes:
        made_at: virtual seconds at which the caller had its answer.
        ended_at: when the call was made that takes it back; None while it holds.
    """

    what: str
    forbids: Forbids
    made_at: float
    ended_at: float | None = None


class Confirmations:
    """All confirmations of a run, by whom they were made to and what they are about."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._standing: dict[tuple[str, str], Confirmation] = {}
        self._left: dict[str, Sent] = {}
        self.made = 0

    def make(self, who: str, what: str, forbids: Forbids) -> None:
        """A caller was told that from now on no such entry leaves."""
        self._standing[who, what] = Confirmation(f"{what} of {who}", forbids, self._now())
        self.made += 1

    def end(self, who: str, what: str) -> None:
        """The caller asks for something that takes it back; from here on it is not relied on."""
        self._standing.pop((who, what), None)

    def check(self, sent: Sent) -> None:
        """Check an order that leaves now.

        Raises:
            Violation: it is an entry that somebody was told would not come, or it left before and
                does not say that it is a repetition.
        """
        self._check_once(sent)
        if sent.request.side is not Side.BUY:
            return
        for confirmation in self._standing.values():
            if confirmation.forbids(sent):
                raise Violation(
                    "no_entry_after_confirmation",
                    f"{sent.request.symbol} entry {sent.request.client_order_id} left at"
                    f" {sent.at:.3f}, {confirmation.what} was confirmed at"
                    f" {confirmation.made_at:.3f}",
                )

    def _check_once(self, sent: Sent) -> None:
        """Each order leaves once, but for exits that a look-up made intended again."""
        request = sent.request
        before = self._left.setdefault(request.client_order_id, sent)
        may_repeat = request.is_repetition and request.side is Side.SELL
        if before is not sent and not may_repeat:
            raise Violation(
                "sent_twice",
                f"{request.side} of {request.symbol} {request.client_order_id} left at"
                f" {before.at:.3f} and at {sent.at:.3f}",
            )


def of_accounts(*account_ids: str) -> Forbids:
    """Every entry of some accounts."""
    accounts = frozenset(account_ids)
    return lambda sent: sent.account_id in accounts


def outside_pairs(account_ids: tuple[str, ...], pairs: frozenset[str]) -> Forbids:
    """Entries of other pairs than these."""
    accounts = frozenset(account_ids)
    return lambda sent: sent.account_id in accounts and sent.request.symbol not in pairs


def above_size(
    account_ids: tuple[str, ...], size: Decimal, price_of: Callable[[str], Decimal]
) -> Forbids:
    """Entries worth more than a size; the price may have moved a little since the decision."""
    accounts = frozenset(account_ids)

    def forbids(sent: Sent) -> bool:
        worth = sent.request.quantity * price_of(sent.request.symbol)
        return sent.account_id in accounts and worth > size * Decimal("1.05")

    return forbids
