"""Notices in words: the subject and the section that tell one, from its facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from domain.money import WIDE
from domain.notifications import Section

Facts = Mapping[str, Any]

CENT = Decimal("0.01")

_HIDDEN = frozenset({"position_id", "account_id", "run_id", "row_id", "id", "mode", "venue"})


@dataclass(frozen=True, slots=True)
class Words:
    """A notice in words; `link_text` is what its link is called, where it has one."""

    subject: str
    section: Section
    link_text: str | None = None


def words_of(kind: str, facts: Facts) -> Words:
    """Put a notice into words; a kind without words of its own shows its facts as they are."""
    say = _WORDS.get(kind)
    return say(facts) if say is not None else _plainly(kind, facts)


def money(value: object) -> str:
    """An amount of USD as people write it; the text itself where it is no number."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return str(value)
    if not amount.is_finite():
        return str(value)
    sign = "-" if amount < 0 else ""
    # Less than a cent is shown with four digits that count.
    places = 2 if abs(amount) >= CENT or not amount else 3 - amount.adjusted()
    whole, _, fraction = f"{abs(amount):,.{places}f}".partition(".")
    return f"{sign}${whole}.{fraction.rstrip('0').ljust(2, '0')}"


def price(value: object) -> str:
    """A price of USD, with as many places as tell it from its neighbours."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return str(value)
    if not amount.is_finite() or not amount:
        return money(value)
    # Eight digits that count, but never less than cents.
    places = max(2, 7 - amount.adjusted())
    whole, _, fraction = f"{amount:,.{places}f}".partition(".")
    return f"${whole}.{fraction.rstrip('0').ljust(2, '0')}"


def number(value: object) -> str:
    """A quantity without exponent and trailing zeros."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return str(value)
    return f"{amount.normalize(WIDE):f}" if amount.is_finite() else str(value)


def day_of(value: object) -> str:
    """The day of a stored time."""
    try:
        return f"{datetime.fromisoformat(str(value)):%d %B %Y}"
    except ValueError:
        return str(value)


# --- trades --------------------------------------------------------------------------------------


def _where(facts: Facts) -> str:
    parts = (str(facts.get("venue") or "").capitalize(), str(facts.get("mode") or ""))
    return " ".join(part for part in parts if part)


def _trade_figures(facts: Facts) -> tuple[tuple[str, str], ...]:
    shown = (
        ("Quantity", number, "quantity"),
        ("Sold now", number, "sold"),
        ("Entry price", price, "entry_price"),
        ("Exit price", price, "exit_price"),
        ("Stop", price, "stop_loss"),
        ("Next target", price, "take_profit"),
        ("Still open", number, "remaining"),
        ("Too little to sell", number, "dust"),
        ("P&L before fees", money, "pnl"),
        ("Fees", money, "fees"),
        ("Net P&L", money, "net_pnl"),
    )
    figures = [
        (label, form(facts[name])) for label, form, name in shown if facts.get(name) is not None
    ]
    where = _where(facts)
    return (*figures, ("Account", where)) if where else tuple(figures)


def _paper(facts: Facts) -> str:
    return "[Paper] " if facts.get("mode") == "paper" else ""


def _opened(facts: Facts) -> Words:
    title = f"{_paper(facts)}Opened {facts.get('side', '')} {facts['symbol']}".replace("  ", " ")
    return Words(title, Section(title, (), _trade_figures(facts)))


def _closing(what: str) -> Callable[[Facts], Words]:
    def say(facts: Facts) -> Words:
        net = facts.get("net_pnl")
        result = f", net {money(net)}" if net is not None else ""
        title = f"{_paper(facts)}{what}: {facts['symbol']}{result}"
        reason = str(facts.get("reason") or "").replace("_", " ")
        sentences = (f"Closed by {reason}.",) if reason else ()
        return Words(title, Section(title, sentences, _trade_figures(facts)))

    return say


def _came_back(facts: Facts) -> Words:
    title = f"{facts['symbol']}: an order taken for lost was filled"
    sentence = (
        "The venue reported fills of an order that had not been listed. The position is open again"
        " and guarded by its stop and targets; please check it."
    )
    return Words(title, Section(title, (sentence,), _trade_figures(facts)))


def _surplus(facts: Facts) -> Words:
    title = f"{facts['symbol']}: more was traded than the position held"
    sentence = (
        f"Exit orders traded {number(facts.get('quantity', '0'))} beyond what was held, because"
        " one that had been taken for lost was filled after all. Please check your balance."
    )
    return Words(title, Section(title, (sentence,), _trade_figures(facts)))


_TRIES_GO_ON = (
    "Exits go on by themselves. The delay between two tries grows to a minute, and after some"
    " hours to ten minutes."
)

_BY_HAND = (
    "An order that you place at the venue yourself ends none of ours: both may be carried out, and"
    " sell more than the position if the account holds more."
)


def _exit_failing(facts: Facts) -> Words:
    venue = str(facts.get("venue") or "The broker").capitalize()
    title = f"{_paper(facts)}{facts['symbol']}: the position cannot be closed"
    attempts = facts.get("attempts")
    if attempts == 0:
        happened = "The exit was due at least half a minute ago and is not through."
    else:
        happened = f"{venue} carried out none of the last {attempts or ''} exit orders."
    sentences = (
        happened.replace("  ", " "),
        _TRIES_GO_ON,
        _BY_HAND,
    )
    reason = facts.get("reason")
    figures = (("Reason", str(reason)),) if reason else ()
    known = {name: value for name, value in facts.items() if name != "reason"}
    return Words(title, Section(title, sentences, (*figures, *_trade_figures(known))))


def _exit_part_refused(facts: Facts) -> Words:
    title = f"{_paper(facts)}{facts['symbol']}: a part of the position was not closed"
    sentence = (
        f"The broker does not take an order for {number(facts.get('quantity', '0'))}. The position"
        " is as it was, with its stop and targets; close a larger part, or all of it."
    )
    reason = facts.get("reason")
    figures = (("Reason", str(reason)),) if reason else ()
    return Words(title, Section(title, (sentence,), figures))


def _closed_elsewhere(facts: Facts) -> Words:
    title = f"{_paper(facts)}{facts['symbol']}: a part of the position was sold or moved elsewhere"
    if facts.get("is_closed"):
        title = f"{_paper(facts)}{facts['symbol']}: the position was closed elsewhere"
    happened = (
        f"The account holds {number(facts.get('quantity', '0'))} less than the bot's position. That"
        " part counts as closed at an unknown price and is left out of profit and loss."
    )
    kept = () if facts.get("is_closed") else ("What is left keeps its stop and targets.",)
    return Words(title, Section(title, (happened, *kept), _trade_figures(facts)))


def _market_halted(facts: Facts) -> Words:
    venue = str(facts.get("venue") or "The broker").capitalize()
    title = f"{_paper(facts)}{facts['symbol']} cannot be traded at {venue}"
    happened = f"{venue} has suspended, renamed or delisted this market; your position is open."
    goes_on = (
        "Exits are tried all the same and go through once the market opens again. Everything else"
        " goes on. While it has no price it is left out of your equity. If the market does not come"
        " back, the position can be written off."
    )
    return Words(title, Section(title, (happened, goes_on), _trade_figures(facts)))


def _vanished(facts: Facts) -> Words:
    venue = str(facts.get("venue") or "The broker").capitalize()
    title = f"{facts['symbol']}: {venue} no longer knows an order it had accepted"
    if facts.get("leg") == "entry":
        goes_on: tuple[str, ...] = (
            "If none of its fills is found within half an hour, it counts as never carried out.",
        )
    else:
        # Notices from before this fact are all of venues that repeat known orders.
        again = (
            "The same order is sent again soon, under the id that it had, so that it sells once."
            if facts.get("is_sent_again", True)
            else "If none of its fills is found within half an hour, the exit is made again."
        )
        rest = "What it cannot sell of the position leaves beside it, if that is to leave too."
        goes_on = (again, rest, _BY_HAND)
    sentences = (*goes_on, "Fills that turn up later are booked all the same. Please check it.")
    return Words(title, Section(title, sentences))


def _unresolved(facts: Facts) -> Words:
    venue = str(facts.get("venue") or "The broker").capitalize()
    title = f"{facts['symbol']}: what became of an order is not known"
    happened = f"You removed {venue} before it had said what became of this order."
    if facts.get("leg") == "entry":
        left = "If it was filled, it is in your account and nobody watches it."
    else:
        left = (
            "The position stays open in the books as far as it is known, without stop and targets;"
            " it may have been sold. Once you have looked you can write it off."
        )
    sentences = (happened, left, f"Please look at your account at {venue}.")
    return Words(title, Section(title, sentences, _trade_figures(facts)))


# --- alerts --------------------------------------------------------------------------------------


def _exit_alert_stale(facts: Facts) -> Words:
    title = f"{facts['symbol']}: an alert to close came too late"
    happened = (
        "The time that it says was too long ago, so it closed nothing: the position stays open,"
        " with its stop and targets."
    )
    advice = (
        "Close it yourself if you still want that, and look at the clock of what sends your alerts."
    )
    return Words(title, Section(title, (happened, advice)))


def _emergency_stop(facts: Facts) -> Words:
    title = "Emergency stop activated"
    closing = "Open positions are being closed." if facts.get(_CLOSES) else ""
    sentences = ("No new position is opened until you release it.", closing)
    reason = facts.get("reason")
    figures = (("Reason", str(reason)),) if reason else ()
    return Words(title, Section(title, tuple(filter(None, sentences)), figures))


_CLOSES = "positions_are_closed"


def _switch(title: str, sentence: str) -> Callable[[Facts], Words]:
    def say(facts: Facts) -> Words:
        figures = tuple(
            (label, str(facts[name]))
            for label, name in (("Scope", "scope"), ("Broker", "broker"), ("Reason", "reason"))
            if facts.get(name)
        )
        closing = ("Open positions are being closed.",) if facts.get(_CLOSES) else ()
        return Words(title, Section(title, (sentence, *closing), figures))

    return say


def _daily_loss(facts: Facts) -> Words:
    title = f"{_paper(facts)}Daily loss limit reached"
    sentence = (
        "No new position is opened while the net result of the day (UTC), open positions included,"
        " is at or below the limit; exits go on."
    )
    figures = tuple(
        (label, money(facts[name]))
        for label, name in (("Result of the day", "day_pnl"),)
        if facts.get(name) is not None
    )
    return Words(title, Section(title, (sentence,), figures))


def _keys_refused(facts: Facts) -> Words:
    venue = str(facts.get("venue") or "The broker").capitalize()
    title = f"{venue} refuses your API keys"
    sentence = "Positions cannot be guarded until they work again: please replace the keys."
    return Words(title, Section(title, (sentence,)))


def _limit_near(facts: Facts) -> Words:
    what = str(facts.get("what", "a limit")).replace("_", " ")
    title = f"You have used most of your {what}"
    figures = (("Used", number(facts.get("used"))), ("Limit", number(facts.get("limit"))))
    sentence = "When the limit of your plan is reached, no more are accepted in this period."
    return Words(title, Section(title, (sentence,), figures))


# --- billing -------------------------------------------------------------------------------------


def _said(subject: str, *sentences: str) -> Callable[[Facts], Words]:
    """Words with `{name}` for facts; a sentence whose facts are missing is left out."""

    def say(facts: Facts) -> Words:
        shown = {name: _shown(name, value) for name, value in facts.items() if value is not None}
        title = _filled(subject, shown) or subject.partition(" {")[0]
        filled = (_filled(sentence, shown) for sentence in sentences)
        return Words(title, Section(title, tuple(text for text in filled if text)))

    return say


def _filled(text: str, shown: Mapping[str, str]) -> str | None:
    try:
        return text.format_map(shown)
    except KeyError:
        return None


def _shown(name: str, value: object) -> str:
    if name.startswith("amount"):
        return money(value)
    if name.endswith(("_at", "period_end")):
        return day_of(value)
    return str(value)


# --- the account itself --------------------------------------------------------------------------


def _linked(subject: str, link_text: str, *sentences: str) -> Callable[[Facts], Words]:
    def say(_: Facts) -> Words:
        return Words(subject, Section(subject, sentences), link_text)

    return say


def _security(subject: str, *sentences: str) -> Callable[[Facts], Words]:
    advice = "If this was not you, reset your password and end all sessions."

    def say(facts: Facts) -> Words:
        figures = tuple(
            (label, str(facts[name]))
            for label, name in (
                ("Address", "ip_address"),
                ("Device", "user_agent"),
                ("Recovery codes left", "recovery_codes_left"),
            )
            if facts.get(name) is not None
        )
        return Words(subject, Section(subject, (*sentences, advice), figures))

    return say


def _password_reset(facts: Facts) -> Words:
    ended = ("The webhook key for your alerts has ended too: make a new one.",)
    keys = ended if facts.get("webhook_keys_ended") else ()
    return _security("Your password was reset", "All sessions were ended with it.", *keys)(facts)


def _plainly(kind: str, facts: Facts) -> Words:
    title = kind.replace("_", " ").capitalize()
    return Words(title, Section(title, (), _rest(facts)))


def _rest(facts: Facts) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name.replace("_", " ").capitalize(), str(value))
        for name, value in facts.items()
        if name not in _HIDDEN and isinstance(value, str | int | Decimal)
    )


_WORDS: Mapping[str, Callable[[Facts], Words]] = {
    "trade_opened": _opened,
    "trade_closed": _closing("Closed"),
    "stop_hit": _closing("Stop hit"),
    "target_hit": _closing("Target hit"),
    "part_closed": _closing("Part closed"),
    "exit_alert_stale": _exit_alert_stale,
    "position_came_back": _came_back,
    "surplus_exit": _surplus,
    "exit_failing": _exit_failing,
    "exit_part_refused": _exit_part_refused,
    "order_vanished": _vanished,
    "order_unresolved": _unresolved,
    "closed_elsewhere": _closed_elsewhere,
    "market_halted": _market_halted,
    "emergency_stop": _emergency_stop,
    "kill_switch": _switch(
        "Kill switch engaged", "No new position is opened until it is released; exits go on."
    ),
    "kill_switch_closing": _switch(
        "Kill switch closes positions",
        "A kill switch that was engaged before closes positions now; no new position is opened"
        " until it is released.",
    ),
    "kill_switch_released": _switch(
        "Kill switch released", "Bots that were running may open positions again."
    ),
    "daily_loss_reached": _daily_loss,
    "keys_refused": _keys_refused,
    "limit_near": _limit_near,
    "trial_ending": _said(
        "Your trial ends soon",
        "Your trial ends on {trial_ends_at}.",
        "Without a plan, live positions are only exited from then on; paper trading goes on.",
    ),
    "trial_ended": _said(
        "Your trial has ended",
        "Live positions are only exited from now on; choose a plan to open new ones.",
    ),
    "plan_changed": _said("Your plan is now {to}", "It was {from} before."),
    "plan_lost": _said(
        "Your plan has ended",
        "Live positions are only exited from now on; nothing is closed by force.",
    ),
    "subscription_renewed": _said(
        "Your subscription was renewed", "The {tier} plan runs until {period_end}."
    ),
    "payment_failed": _said(
        "A payment failed",
        "We could not take {amount_due} for your {tier} plan.",
        "Please update your payment method; after 7 days no live position is opened any more.",
    ),
    "payment_recovered": _said("Your payment arrived", "Your {tier} plan goes on as before."),
    "cancellation_set": _said(
        "Your subscription will end", "It stays in force until {period_end}."
    ),
    "subscription_ended": _said("Your subscription has ended"),
    "refunded": _said("You were refunded {amount}", "It arrives within some days."),
    "payment_disputed": _said(
        "A payment is disputed: {amount}",
        "The bank of user {user_id} asks it back ({reason}); the dispute is {dispute} at Stripe.",
        "Stripe takes an answer until {answer_due_at}.",
        "Nothing has changed by it; the user's plan is for you to decide on.",
    ),
    "payment_dispute_closed": _said(
        "A dispute is closed: {status}",
        "It was {dispute} at Stripe, of user {user_id}, about {amount}.",
    ),
    "new_login": _security("New login to your account"),
    "password_changed": _security(
        "Your password was changed", "All other sessions were ended with it."
    ),
    "password_reset": _password_reset,
    "account_locked": _security(
        "Too many wrong passwords", "Logins are refused for a quarter of an hour."
    ),
    "email_changed": _security("Your email address was changed"),
    "two_factor_enabled": _security("Two-factor authentication was turned on"),
    "two_factor_disabled": _security("Two-factor authentication was turned off"),
    "recovery_code_used": _security("A recovery code was used to log in"),
    "recovery_codes_replaced": _security("Your recovery codes were replaced"),
    "webhook_key_issued": _security(
        "A webhook key was made for your account", "Whoever has it can have your bot trade."
    ),
    "account_deletion_requested": _security(
        "Your account is being deleted", "Your data are deleted with it."
    ),
    "verify_email": _linked(
        "Confirm your email address",
        "Confirm the address",
        "Please confirm that this address is yours. Live trading needs a confirmed address.",
    ),
    "reset_password": _linked(
        "Reset your password",
        "Choose a new password",
        "Somebody, hopefully you, asked for a new password.",
        "The link works once, for one hour. If it was not you, there is nothing to do.",
    ),
    "confirm_email_change": _linked(
        "Confirm your new email address",
        "Confirm the address",
        "Please confirm that this is to be the new address of your account.",
    ),
}
