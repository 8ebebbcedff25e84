"""Every class of ccxt's tree has a meaning, and a new one fails here until someone gives it one."""

import ccxt
import pytest
from ccxt.base import errors as ccxt_errors

from adapters.venues.errors import (
    MEANINGS,
    CommandMeaning,
    QuestionMeaning,
    VenueRejectedQuestionError,
    meaning_of,
    question_failure,
)
from domain.ports import VenueRefusedKeys, VenueUnavailable


def whole_tree(root: type[BaseException]) -> set[type[BaseException]]:
    return {root}.union(*(whole_tree(child) for child in root.__subclasses__()))


def published_tree(hierarchy: dict[str, dict[str, object]]) -> set[str]:
    names: set[str] = set()
    for name, children in hierarchy.items():
        names |= {name} | published_tree(children)  # type: ignore[arg-type]  # a tree of names
    return names


def test_table_names_exactly_the_classes_of_ccxt() -> None:
    of_ccxt = {cls for cls in whole_tree(ccxt.BaseError) if cls.__module__.startswith("ccxt.")}

    assert set(MEANINGS) == of_ccxt
    assert {cls.__name__ for cls in MEANINGS} == published_tree(ccxt_errors.error_hierarchy)


@pytest.mark.parametrize("cls", sorted(whole_tree(ccxt.OperationFailed), key=repr))
def test_failed_operation_never_proves_a_refusal(cls: type[BaseException]) -> None:
    assert MEANINGS[cls].command is CommandMeaning.UNKNOWN
    assert MEANINGS[cls].question is QuestionMeaning.UNAVAILABLE


def test_bare_exchange_error_proves_nothing() -> None:
    assert meaning_of(ccxt.ExchangeError("x")).command is CommandMeaning.UNKNOWN


def test_duplicate_is_already_there() -> None:
    assert meaning_of(ccxt.DuplicateOrderId("x")).command is CommandMeaning.ALREADY_THERE


def test_foreign_and_derived_exceptions_prove_nothing() -> None:
    class LaterInvalidOrder(ccxt.InvalidOrder):  # type: ignore[misc]  # ccxt ships no types
        pass

    for error in (OSError("x"), LaterInvalidOrder("x")):
        assert meaning_of(error).command is CommandMeaning.UNKNOWN


def test_questions_fail_as_the_port_says() -> None:
    assert isinstance(question_failure(ccxt.PermissionDenied("x"), "s"), VenueRefusedKeys)
    assert isinstance(question_failure(ccxt.BadSymbol("x"), "s"), VenueRejectedQuestionError)
    assert type(question_failure(ccxt.RequestTimeout("x"), "s")) is VenueUnavailable
    assert str(question_failure(ccxt.RequestTimeout("secret"), "s")) == "s"
