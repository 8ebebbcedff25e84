"""Stripe's billing objects that localstripe lacks, or has in a shape of years ago.

Values are plain, as Stripe's JSON has them; methods begin with an underscore because localstripe
exports everything else. `resources.time` is the stand-in's clock.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime
from typing import Any

from localstripe import resources
from localstripe.errors import UserError

Json = dict[str, Any]
MONTHS = {"month": 1, "year": 12}
BAD_REQUEST, PAYMENT_REQUIRED = 400, 402


def _now() -> int:
    return int(resources.time.time())


def _after(moment: int, interval: str) -> int:
    """The same day of a later month, or its last one where it has no such day."""
    start = datetime.fromtimestamp(moment, UTC)
    years, month = divmod(start.year * 12 + start.month - 1 + MONTHS[interval], 12)
    day = min(start.day, monthrange(years, month + 1)[1])
    return int(start.replace(year=years, month=month + 1, day=day).timestamp())


def _emit(kind: str, subject: Any) -> None:
    resources.schedule_webhook(resources.Event(kind, subject))


def _list(url: str, data: list[Any]) -> Json:
    return {"object": "list", "data": data, "has_more": False, "url": url}


def _all(kind: Any) -> list[Any]:
    found = [one for key, one in resources.store.items() if key.startswith(f"{kind.object}:")]
    return found[::-1]


def _page(url: str, found: list[Any], limit: str | None) -> Any:
    page = resources.List(url, limit=limit)
    page._list = found
    return page


def _flag(value: Any) -> bool:
    return bool(resources.try_convert_to_bool(value))


class Price(resources.StripeObject):  # type: ignore[misc]  # localstripe is untyped
    """A price, found by its lookup key."""

    object = "price"
    _id_prefix = "price_"

    def __init__(
        self,
        *,
        product: str,
        currency: str,
        unit_amount: str,
        recurring: Json,
        lookup_key: str,
        transfer_lookup_key: Any = None,
    ) -> None:
        holder = next((one for one in _all(Price) if one.lookup_key == lookup_key), None)
        if holder is not None and not _flag(transfer_lookup_key):
            raise UserError(BAD_REQUEST, f"A price ({holder.id}) already uses that lookup key")
        if holder is not None:
            holder.lookup_key = None
        super().__init__()
        self.active = True
        self.billing_scheme = "per_unit"
        self.currency = currency
        self.lookup_key = lookup_key
        self.metadata: Json = {}
        self.nickname = None
        self.product = product
        self.recurring = {
            "interval": recurring["interval"],
            "interval_count": 1,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        }
        self.tax_behavior = "unspecified"
        self.tiers_mode = None
        self.type = "recurring"
        self.unit_amount = int(unit_amount)
        self.unit_amount_decimal = str(unit_amount)

    @classmethod
    def _api_list_all(
        cls,
        url: str,
        lookup_keys: list[str] | None = None,
        active: Any = None,
        limit: str | None = None,
    ) -> Any:
        found = [
            one
            for one in _all(cls)
            if (lookup_keys is None or one.lookup_key in lookup_keys)
            and (active is None or one.active == _flag(active))
        ]
        return _page(url, found, limit)

    def _archive(self) -> None:
        """As an operator does; nobody new can subscribe to it."""
        self.active = False


class BalanceEntry(resources.StripeObject):  # type: ignore[misc]  # localstripe is untyped
    """A change of what is kept for a customer's later bills; negative is credit."""

    object = "customer_balance_transaction"
    _id_prefix = "cbtxn_"

    def __init__(
        self,
        *,
        customer: str,
        amount: int,
        type: str = "adjustment",  # noqa: A002 - Stripe's own name
        invoice: str | None = None,
        description: str | None = None,
        metadata: Json | None = None,
    ) -> None:
        holder = resources.Customer._api_retrieve(customer)
        super().__init__()
        holder.balance += amount
        self.amount = amount
        self.checkout_session = None
        self.credit_note = None
        self.currency = "usd"
        self.customer = customer
        self.description = description
        self.ending_balance = holder.balance
        self.invoice = invoice
        self.metadata = metadata or {}
        self.type = type

    def _take_back(self) -> None:
        resources.Customer._api_retrieve(self.customer).balance -= self.amount
        del resources.store[f"{self.object}:{self.id}"]

    @classmethod
    def _api_of_customer(cls, id: str, limit: str | None = None) -> Any:  # noqa: A002
        resources.Customer._api_retrieve(id)
        found = [one for one in _all(cls) if one.customer == id]
        return _page(f"/v1/customers/{id}/balance_transactions", found, limit)

    @classmethod
    def _api_adjust(cls, id: str, amount: str, currency: str, **values: Any) -> Any:  # noqa: A002
        assert currency == "usd"
        return cls(customer=id, amount=int(amount), **values)


resources.Customer.balance = 0  # localstripe knows it by its name of years ago only


class Dispute(resources.StripeObject):  # type: ignore[misc]  # localstripe is untyped
    """A payment that its payer's bank asks back."""

    object = "dispute"
    _id_prefix = "du_"

    def __init__(self, payment_intent: str) -> None:
        intent = resources.PaymentIntent._api_retrieve(payment_intent)
        super().__init__()
        self.amount = intent.amount
        self.balance_transactions: list[Json] = []
        self.charge = intent.latest_charge.id
        self.currency = intent.currency
        self.evidence: Json = {}
        self.evidence_details: Json = {
            "due_by": self.created + 7 * 24 * 3600,
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        }
        self.is_charge_refundable = False
        self.metadata: Json = {}
        self.payment_intent = payment_intent
        self.reason = "fraudulent"
        self.status = "needs_response"
        _emit("charge.dispute.created", self)

    def _close(self, status: str) -> None:
        self.status = status
        _emit("charge.dispute.closed", self)


class Invoice(resources.StripeObject):  # type: ignore[misc]  # localstripe is untyped
    """A bill of a subscription."""

    object = "invoice"
    _id_prefix = "in_"

    def __init__(self, subscription: Subscription, lines: list[Json], reason: str) -> None:
        super().__init__()
        total = sum(line["amount"] for line in lines)
        self._entry: BalanceEntry | None = None
        customer = resources.Customer._api_retrieve(subscription.customer)
        self.starting_balance = customer.balance
        applied = min(total, max(0, -customer.balance)) if total > 0 else total
        if applied:
            self._entry = BalanceEntry(
                customer=customer.id, amount=applied, type="applied_to_invoice", invoice=self.id
            )
        self.ending_balance = customer.balance
        self.amount_due = total - applied
        self.amount_paid = 0
        self.amount_remaining = self.amount_due
        self.attempt_count = 0
        self.attempted = False
        self.billing_reason = reason
        self.collection_method = "charge_automatically"
        self.currency = "usd"
        self.customer = subscription.customer
        self.hosted_invoice_url = None
        self.invoice_pdf = None
        self.lines = _list(f"/v1/invoices/{self.id}/lines", lines)
        self.metadata: Json = {}
        self.number = f"TEST-{len(_all(Invoice)):04}"
        self.parent = {
            "quote_details": None,
            "subscription_details": {"metadata": {}, "subscription": subscription.id},
            "type": "subscription_details",
        }
        self.payments = _list("/v1/invoice_payments", [])
        self.period_start = subscription._period_start
        self.period_end = subscription._period_end
        self.status = "open"
        self.subtotal = total
        self.total = total
        _emit("invoice.created", self)

    def _discard(self) -> None:
        """As if it had never been: what could not be paid at once is rolled back."""
        del resources.store[f"invoice:{self.id}"]
        if self._entry is not None:
            self._entry._take_back()

    def _collect(self) -> bool:
        """Try to take the money; whether the bill is paid."""
        self.attempted = True
        self.attempt_count += 1
        if self.amount_due:
            customer = resources.Customer._api_retrieve(self.customer)
            card = customer._get_default_payment_method_or_source()
            if card is None:
                raise UserError(PAYMENT_REQUIRED, "No card", {"code": "missing_payment_method"})
            payment = resources.PaymentIntent(
                amount=self.amount_due,
                currency=self.currency,
                customer=self.customer,
                payment_method=card.id,
            )
            payment._confirm(on_failure_now=lambda: None)
            if payment.status != "succeeded":
                return False
            self.payments["data"].append(self._payment(payment.id))
        self.amount_paid, self.amount_remaining, self.status = self.amount_due, 0, "paid"
        _emit("invoice.payment_succeeded", self)
        return True

    def _payment(self, intent: str) -> Json:
        return {
            "id": f"inpay_{intent}",
            "object": "invoice_payment",
            "amount_paid": self.amount_due,
            "amount_requested": self.amount_due,
            "created": _now(),
            "currency": self.currency,
            "invoice": self.id,
            "is_default": True,
            "livemode": False,
            "payment": {"payment_intent": intent, "type": "payment_intent"},
            "status": "paid",
        }

    @classmethod
    def _api_list_all(
        cls,
        url: str,
        customer: str | None = None,
        subscription: str | None = None,
        status: str | None = None,
        created: Json | None = None,
        limit: str | None = None,
    ) -> Any:
        since = int((created or {}).get("gte", 0))
        found = [
            one
            for one in _all(cls)
            if customer in {None, one.customer}
            and subscription in {None, one.parent["subscription_details"]["subscription"]}
            and status in {None, one.status}
            and one.created >= since
        ]
        return _page(url, found, limit)

    @classmethod
    def _api_pay(cls, id: str) -> Any:  # noqa: A002 - localstripe's own name
        bill = cls._api_retrieve(id)
        if bill.status == "paid":
            raise UserError(BAD_REQUEST, "Invoice is already paid")
        paid = bill._collect()
        subscription = Subscription._api_retrieve(
            bill.parent["subscription_details"]["subscription"]
        )
        if not paid:
            _emit("invoice.payment_failed", bill)
            raise _declined()
        if subscription.latest_invoice == bill.id:
            subscription.status = "active"
        _emit("customer.subscription.updated", subscription)
        return bill

    @classmethod
    def _api_preview(cls, subscription: str, subscription_details: Json) -> Any:
        assert _flag(subscription_details["cancel_now"])
        found = Subscription._api_retrieve(subscription)
        preview = cls.__new__(cls)
        preview.id = f"upcoming_{resources.random_id(14)}"
        lines = [found._unused_line(_now())]
        preview.lines = _list("/v1/invoices/upcoming/lines", lines)
        preview.amount_due, preview.total = 0, lines[0]["amount"]
        return preview


def _declined() -> UserError:
    return UserError(
        PAYMENT_REQUIRED,
        "Your card was declined.",
        {"code": "card_declined", "decline_code": "generic_decline"},
    )


class Subscription(resources.StripeObject):  # type: ignore[misc]  # localstripe is untyped
    """A subscription with one item."""

    object = "subscription"
    _id_prefix = "sub_"

    def __init__(
        self,
        *,
        customer: str,
        items: list[Json],
        payment_behavior: str,
        metadata: Json | None = None,
    ) -> None:
        assert payment_behavior == "error_if_incomplete"
        resources.Customer._api_retrieve(customer)
        price = Price._api_retrieve(items[0]["price"])
        super().__init__()
        self.billing_cycle_anchor = self.created
        self.cancel_at = None
        self.cancel_at_period_end = False
        self.canceled_at: int | None = None
        self.cancellation_details = {"comment": None, "feedback": None, "reason": None}
        self.collection_method = "charge_automatically"
        self.currency = "usd"
        self.customer = customer
        self.default_payment_method = None
        self.ended_at: int | None = None
        self.latest_invoice: str | None = None
        self.metadata = metadata or {}
        self.schedule: str | None = None
        self.start_date = self.created
        self.status = "active"
        self.trial_end = None
        self.trial_start = None
        self._item_id = f"si_{resources.random_id(14)}"
        self._set_price(price, self.created)
        bill = self._bill([self._full_line()], "subscription_create")
        if not bill._collect():
            bill._discard()
            del resources.store[f"subscription:{self.id}"]
            raise _declined()
        _emit("customer.subscription.created", self)

    @property
    def items(self) -> Json:
        item = {
            "id": self._item_id,
            "object": "subscription_item",
            "created": self.created,
            "current_period_start": self._period_start,
            "current_period_end": self._period_end,
            "metadata": {},
            "price": self._price._export(),
            "quantity": 1,
            "subscription": self.id,
            "tax_rates": [],
        }
        return _list(f"/v1/subscription_items?subscription={self.id}", [item])

    # --- money ------------------------------------------------------------------------------

    def _set_price(self, price: Price, period_start: int) -> None:
        self._price = price
        self._period_start = period_start
        self._period_end = _after(period_start, price.recurring["interval"])

    def _bill(self, lines: list[Json], reason: str) -> Invoice:
        bill = Invoice(self, lines, reason)
        self.latest_invoice = bill.id
        return bill

    def _line(self, amount: int, start: int, *, proration: bool) -> Json:
        return {
            "id": f"il_{resources.random_id(14)}",
            "object": "line_item",
            "amount": amount,
            "currency": "usd",
            "description": self._price.lookup_key,
            "livemode": False,
            "metadata": {},
            "period": {"start": start, "end": self._period_end},
            "parent": {
                "invoice_item_details": None,
                "subscription_item_details": {
                    "invoice_item": None,
                    "proration": proration,
                    "proration_details": None,
                    "subscription": self.id,
                    "subscription_item": self._item_id,
                },
                "type": "subscription_item_details",
            },
            "quantity": 1,
        }

    def _full_line(self) -> Json:
        return self._line(self._price.unit_amount, self._period_start, proration=False)

    def _share(self, at: int) -> int:
        length = self._period_end - self._period_start
        return round(self._price.unit_amount * max(0, self._period_end - at) / length)

    def _unused_line(self, at: int) -> Json:
        return self._line(-self._share(at), at, proration=True)

    # --- calls ------------------------------------------------------------------------------

    def _update(
        self,
        *,
        items: list[Json] | None = None,
        proration_behavior: str = "create_prorations",
        payment_behavior: str | None = None,
        cancel_at_period_end: Any = None,
        metadata: Json | None = None,
    ) -> None:
        if self.status == "canceled":
            raise UserError(BAD_REQUEST, "A canceled subscription cannot be changed")
        if self.schedule is not None and (items or cancel_at_period_end is not None):
            raise UserError(BAD_REQUEST, "The subscription is managed by a schedule")
        if items is not None:
            assert (proration_behavior, payment_behavior) == (
                "always_invoice",
                "error_if_incomplete",
            )
            assert items[0]["id"] == self._item_id
            self._change(Price._api_retrieve(items[0]["price"]))
        if cancel_at_period_end is not None:
            self.cancel_at_period_end = _flag(cancel_at_period_end)
        self.metadata |= metadata or {}
        _emit("customer.subscription.updated", self)

    def _change(self, price: Price) -> None:
        """Exchange the price: a new period where the interval is another one."""
        at, before = _now(), (self._price, self._period_start, self.latest_invoice)
        unused = self._unused_line(at)
        if price.recurring["interval"] == self._price.recurring["interval"]:
            self._price = price
            lines = [unused, self._line(self._share(at), at, proration=True)]
        else:
            self._set_price(price, at)
            lines = [unused, self._full_line()]
        bill = self._bill(lines, "subscription_update")
        if not bill._collect():
            self._set_price(before[0], before[1])
            self.latest_invoice = before[2]
            bill._discard()
            raise _declined()

    @classmethod
    def _api_cancel(
        cls,
        id: str,  # noqa: A002 - localstripe's own name
        invoice_now: Any = None,
        prorate: Any = None,
        cancellation_details: Json | None = None,
    ) -> Any:
        found = cls._api_retrieve(id)
        found.cancellation_details |= cancellation_details or {}
        if found.status == "canceled":
            raise UserError(404, "No such subscription", {"code": "resource_missing"})
        assert not _flag(invoice_now)
        assert not _flag(prorate)
        found._end()
        return found

    @classmethod
    def _api_list_all(
        cls,
        url: str,
        customer: str | None = None,
        status: str | None = None,
        limit: str | None = None,
        **_: Any,
    ) -> Any:
        found = [
            one
            for one in _all(cls)
            if customer in {None, one.customer} and (status == "all" or one.status != "canceled")
        ]
        return _page(url, found, limit)

    # --- time -------------------------------------------------------------------------------

    def _end(self) -> None:
        self.status = "canceled"
        self.canceled_at = self.ended_at = _now()
        _emit("customer.subscription.deleted", self)

    def _run_due(self) -> None:
        while self.status != "canceled" and self._period_end <= _now():
            if self.cancel_at_period_end:
                self._end()
            else:
                self._renew()

    def _renew(self) -> None:
        price = self._price
        if self.schedule is not None:
            schedule = Schedule._api_retrieve(self.schedule)
            price, metadata = schedule._next_phase()
            self.metadata |= metadata
            schedule._let_go(self)
        self._set_price(price, self._period_end)
        bill = self._bill([self._full_line()], "subscription_cycle")
        paid = bill._collect()
        if not paid:
            self.status = "past_due"
            _emit("invoice.payment_failed", bill)
        _emit("customer.subscription.updated", self)


class Schedule(resources.StripeObject):  # type: ignore[misc]  # localstripe is untyped
    """A change of plan when the period ends."""

    object = "subscription_schedule"
    _id_prefix = "sub_sched_"

    def __init__(self, *, from_subscription: str) -> None:
        subscription = Subscription._api_retrieve(from_subscription)
        if subscription.schedule is not None:
            raise UserError(BAD_REQUEST, "The subscription has a schedule already")
        super().__init__()
        self.current_phase = {
            "start_date": subscription._period_start,
            "end_date": subscription._period_end,
        }
        self.customer = subscription.customer
        self.end_behavior = "release"
        self.metadata: Json = {}
        self.phases = [
            {
                "items": [{"price": subscription._price.id, "quantity": 1}],
                "metadata": {},
                **self.current_phase,
            }
        ]
        self.status = "active"
        self.subscription: str | None = subscription.id
        subscription.schedule = self.id
        _emit("customer.subscription.updated", subscription)

    def _update(self, *, phases: list[Json], end_behavior: str, proration_behavior: str) -> None:
        assert (end_behavior, proration_behavior, len(phases)) == ("release", "none", 2)
        now, later = phases
        assert int(now["start_date"]) == self.current_phase["start_date"]
        assert int(now["end_date"]) == self.current_phase["end_date"]
        start = self.current_phase["end_date"]
        following = {
            "items": [{"price": later["items"][0]["price"], "quantity": 1}],
            "metadata": later["metadata"],
            "start_date": start,
            "end_date": _after(start, later["duration"]["interval"]),
        }
        self.phases = [self.phases[0], following]
        _emit("customer.subscription.updated", Subscription._api_retrieve(self.subscription))

    def _next_phase(self) -> tuple[Price, Json]:
        phase = self.phases[-1]
        return Price._api_retrieve(phase["items"][0]["price"]), phase["metadata"]

    def _let_go(self, subscription: Subscription) -> None:
        self.status, self.subscription, subscription.schedule = "released", None, None

    @classmethod
    def _api_release(cls, id: str) -> Any:  # noqa: A002 - localstripe's own name
        found = cls._api_retrieve(id)
        if found.subscription is None:
            raise UserError(BAD_REQUEST, "The schedule is not active")
        found._let_go(Subscription._api_retrieve(found.subscription))
        return found


EXTRA_CALLS = (
    ("GET", "/v1/customers/{id}/balance_transactions", BalanceEntry._api_of_customer),
    ("POST", "/v1/customers/{id}/balance_transactions", BalanceEntry._api_adjust),
    ("GET", "/v1/disputes/{id}", Dispute._api_retrieve),
    ("POST", "/v1/invoices/create_preview", Invoice._api_preview),
    ("POST", "/v1/invoices/{id}/pay", Invoice._api_pay),
    ("DELETE", "/v1/subscriptions/{id}", Subscription._api_cancel),
    ("POST", "/v1/subscription_schedules/{id}/release", Schedule._api_release),
)
