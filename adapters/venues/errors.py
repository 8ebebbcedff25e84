"""What an exception of ccxt means: the one table.

A *command* changes something at the venue (place, cancel). Its failure is `REFUSED` only where the
class proves that the venue did not take it; `ALREADY_THERE` where the venue has it from before;
everything else is `UNKNOWN`. A *question* changes nothing. Its failure is `UNAVAILABLE` (ask again
later), `REFUSED_KEYS` or `BAD_REQUEST` (asking again the same way will not help).

The table names every class of ccxt's tree, without inheritance: a class that a new version adds is
not covered by its parent's entry by accident, but fails a test until someone decides. Venue
adapters may know more than the class (the body of an answer can prove a refusal); that knowledge
is in their own folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import ccxt

from domain.ports import VenueRefusedKeys, VenueUnavailable


class CommandMeaning(StrEnum):
    """What became of a command that ended in an exception."""

    REFUSED = "refused"
    ALREADY_THERE = "already_there"
    UNKNOWN = "unknown"


class QuestionMeaning(StrEnum):
    """What to make of a question that ended in an exception."""

    UNAVAILABLE = "unavailable"
    REFUSED_KEYS = "refused_keys"
    BAD_REQUEST = "bad_request"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an exception class means for a command and for a question."""

    command: CommandMeaning
    question: QuestionMeaning


class VenueRejectedQuestionError(VenueUnavailable):
    """The venue understood the question and will not answer it; the market is unknown, say."""


class VenueAnswerMalformedError(VenueUnavailable):
    """The venue's answer is not understood; it is never read as empty or zero."""


_UNKNOWN = Meaning(CommandMeaning.UNKNOWN, QuestionMeaning.UNAVAILABLE)
_REFUSED_KEYS = Meaning(CommandMeaning.REFUSED, QuestionMeaning.REFUSED_KEYS)
_REFUSED_REQUEST = Meaning(CommandMeaning.REFUSED, QuestionMeaning.BAD_REQUEST)
_REFUSED_FOR_NOW = Meaning(CommandMeaning.REFUSED, QuestionMeaning.UNAVAILABLE)
_ALREADY_THERE = Meaning(CommandMeaning.ALREADY_THERE, QuestionMeaning.BAD_REQUEST)

MEANINGS: Mapping[type[BaseException], Meaning] = MappingProxyType(
    {
        ccxt.BaseError: _UNKNOWN,
        # ccxt raises the bare class for every answer it has no name for, refusals and failures
        # alike.
        ccxt.ExchangeError: _UNKNOWN,
        ccxt.AuthenticationError: _REFUSED_KEYS,
        ccxt.PermissionDenied: _REFUSED_KEYS,
        ccxt.AccountNotEnabled: _REFUSED_KEYS,
        ccxt.AccountSuspended: _REFUSED_KEYS,
        ccxt.ArgumentsRequired: _REFUSED_REQUEST,
        ccxt.BadRequest: _REFUSED_REQUEST,
        ccxt.BadSymbol: _REFUSED_REQUEST,
        ccxt.OperationRejected: _REFUSED_FOR_NOW,
        ccxt.NoChange: _REFUSED_FOR_NOW,
        ccxt.MarginModeAlreadySet: _REFUSED_FOR_NOW,
        ccxt.MarketClosed: _REFUSED_FOR_NOW,
        ccxt.ManualInteractionNeeded: _REFUSED_FOR_NOW,
        ccxt.RestrictedLocation: _REFUSED_FOR_NOW,
        ccxt.InsufficientFunds: _REFUSED_REQUEST,
        ccxt.InvalidAddress: _REFUSED_REQUEST,
        ccxt.AddressPending: _REFUSED_REQUEST,
        ccxt.InvalidOrder: _REFUSED_REQUEST,
        ccxt.OrderNotFound: _REFUSED_REQUEST,
        ccxt.OrderNotCached: _REFUSED_REQUEST,
        ccxt.OrderImmediatelyFillable: _REFUSED_REQUEST,
        ccxt.OrderNotFillable: _REFUSED_REQUEST,
        ccxt.DuplicateOrderId: _ALREADY_THERE,
        ccxt.ContractUnavailable: _REFUSED_REQUEST,
        ccxt.NotSupported: _REFUSED_REQUEST,
        ccxt.InvalidProxySettings: _REFUSED_FOR_NOW,
        # Raised before a request as a rule, but nothing promises that.
        ccxt.ExchangeClosedByUser: _UNKNOWN,
        ccxt.OperationFailed: _UNKNOWN,
        ccxt.NetworkError: _UNKNOWN,
        # Siblings in ccxt: neither proves by itself that the request was not processed.
        ccxt.DDoSProtection: _UNKNOWN,
        ccxt.RateLimitExceeded: _UNKNOWN,
        ccxt.ExchangeNotAvailable: _UNKNOWN,
        ccxt.OnMaintenance: _UNKNOWN,
        ccxt.InvalidNonce: _UNKNOWN,
        ccxt.ChecksumError: _UNKNOWN,
        ccxt.RequestTimeout: _UNKNOWN,
        ccxt.BadResponse: _UNKNOWN,
        ccxt.NullResponse: _UNKNOWN,
        ccxt.CancelPending: _UNKNOWN,
        ccxt.UnsubscribeError: _UNKNOWN,
    }
)


def meaning_of(error: BaseException) -> Meaning:
    """Look an exception up; whatever the table does not name proves nothing."""
    return MEANINGS.get(type(error), _UNKNOWN)


def question_failure(error: BaseException, summary: str) -> VenueUnavailable | VenueRefusedKeys:
    """The port's exception for a question that failed. `summary` must hold no secret."""
    match meaning_of(error).question:
        case QuestionMeaning.REFUSED_KEYS:
            return VenueRefusedKeys(summary)
        case QuestionMeaning.BAD_REQUEST:
            return VenueRejectedQuestionError(summary)
        case QuestionMeaning.UNAVAILABLE:
            return VenueUnavailable(summary)
