"""What is in a mail: words, HTML, the picture, and the headers that mail programs look for."""

from __future__ import annotations

from email.message import EmailMessage
from io import BytesIO

import pytest
from PIL import Image

from adapters.notify.curve import HEIGHT, WIDTH, draw_curve
from adapters.notify.mail import write_mail
from domain.notifications import Section
from services.notices import NoticeKind
from services.notifying.kinds import is_urgent
from services.notifying.wording import words_of
from tests.notify.harness import A_CURVE, a_letter

SENDER, RECEIVER = "NIJA <nija@nija.example>", "me@example.com"


def mail_of(**parts: object) -> EmailMessage:
    return write_mail(a_letter(**parts), sender=SENDER, receiver=RECEIVER)


def html_of(mail: EmailMessage) -> str:
    body = mail.get_body(("html",))
    assert body is not None
    return str(body.get_content())


def test_a_mail_is_the_same_at_every_attempt() -> None:
    first, again = mail_of(), mail_of()

    assert first["Message-ID"] == again["Message-ID"]
    assert str(first["Message-ID"]).endswith("@nija.example>")
    assert first["Date"] == again["Date"]


def test_text_and_html_say_the_same() -> None:
    section = Section("Stop hit", ("Closed by stop loss.",), (("Net P&L", "-$12.40"),))

    mail = mail_of(sections=(section,))

    plain = mail.get_body(("plain",))
    assert plain is not None
    text = plain.get_content()
    for part in ("Stop hit", "Closed by stop loss.", "-$12.40"):
        assert part in text
        assert part in html_of(mail)


def test_html_escapes_what_users_and_venues_write() -> None:
    section = Section("<script>alert(1)</script>", ("a & b",), (("<b>", '"><img src=x>'),))

    html = html_of(mail_of(sections=(section,), subject="<title>"))

    assert "<script>" not in html
    assert "<img" not in html
    assert "a &amp; b" in html


def test_a_line_break_in_a_subject_makes_no_header() -> None:
    mail = mail_of(subject="Opened\r\nBcc: everybody@example.com")

    assert mail["Bcc"] is None
    assert mail["Subject"] == "Opened Bcc: everybody@example.com"


def test_the_picture_is_inside_and_the_html_shows_it() -> None:
    mail = mail_of(sections=(Section("Daily summary"),), curve=A_CURVE)

    (picture,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    content_id = str(picture["Content-ID"]).strip("<>")
    assert f'src="cid:{content_id}"' in html_of(mail)
    assert picture.get_content_disposition() == "inline"
    content = picture.get_payload(decode=True)
    assert isinstance(content, bytes)
    with Image.open(BytesIO(content)) as image:
        assert image.size == (WIDTH, HEIGHT)
        assert len(image.convert("RGB").getcolors(4096) or []) > 3
    assert mail.get_content_type() == "multipart/alternative"


def test_a_flat_curve_and_one_day_are_no_trouble() -> None:
    flat = [(day, A_CURVE[0][1]) for day, _ in A_CURVE]

    assert draw_curve(flat).startswith(b"\x89PNG")
    assert "cid:" not in html_of(mail_of(sections=(Section("x"),), curve=A_CURVE[:1]))


def test_one_click_unsubscribing_is_announced_where_there_is_any() -> None:
    url = "https://nija.example/unsubscribe?token=abc"

    mail = mail_of(unsubscribe_url=url, unsubscribe_from="daily summaries")

    assert mail["List-Unsubscribe"] == f"<{url}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "No more daily summaries" in html_of(mail)
    assert mail_of()["List-Unsubscribe"] is None


def test_a_long_link_stands_in_its_header_as_it_is() -> None:
    """Mail programs look for it there and decode nothing."""
    url = "https://nija.example/unsubscribe?token=" + "A-b_9" * 40

    raw = mail_of(unsubscribe_url=url, unsubscribe_from="daily summaries").as_bytes()

    assert f"\r\nList-Unsubscribe: <{url}>\r\n".encode() in raw


def test_only_account_mails_say_that_they_cannot_be_turned_off() -> None:
    words = "cannot be turned off"

    assert words in html_of(mail_of(is_about_account=True))
    assert words not in html_of(mail_of()), "to a mailbox that is a channel"


@pytest.mark.parametrize("kind", [kind.value for kind in NoticeKind])
def test_every_kind_can_be_told_whatever_is_known(kind: str) -> None:
    bare = words_of(kind, {"symbol": "BTC-USD"})
    odd = words_of(kind, {"symbol": "BTC-USD", "amount": None, "net_pnl": "NaN", "limit": "many"})

    assert bare.subject
    assert odd.section.headline
    assert "{" not in bare.subject + odd.subject


def test_amounts_are_written_as_people_write_them() -> None:
    words = words_of(
        "target_hit", {"symbol": "BTC-USD", "net_pnl": "1234.5", "mode": "paper", "fees": "0.01"}
    )

    assert words.subject == "[Paper] Target hit: BTC-USD, net $1,234.50"
    assert ("Fees", "$0.01") in words.section.figures


def test_a_position_that_cannot_be_closed_is_told_with_the_reason() -> None:
    facts = {"symbol": "BTC-USD", "venue": "coinbase", "attempts": 5, "remaining": "1.50"}

    words = words_of("exit_failing", {**facts, "reason": "Market is closed"})

    assert words.subject == "BTC-USD: the position cannot be closed"
    assert words.section.sentences[0].startswith("Coinbase carried out none of the last 5 exit")
    assert ("Reason", "Market is closed") in words.section.figures
    assert ("Still open", "1.5") in words.section.figures
    assert is_urgent("exit_failing")


def test_an_exit_that_no_order_has_failed_for_counts_no_orders() -> None:
    words = words_of("exit_failing", {"symbol": "BTC-USD", "venue": "coinbase", "attempts": 0})

    said = " ".join(words.section.sentences)
    assert said.startswith("The exit was due at least half a minute ago")
    assert "ten minutes" in said
    assert " 0 " not in said


@pytest.mark.parametrize(
    ("is_sent_again", "said"), [(True, "sent again soon"), (False, "within half an hour")]
)
def test_an_exit_that_vanished_is_told_of_by_what_its_venue_does(
    is_sent_again: bool, said: str
) -> None:
    facts = {"symbol": "BTC-USD", "leg": "stop", "is_sent_again": is_sent_again}

    words = words_of("order_vanished", facts)

    assert said in words.section.sentences[0]
    assert not any("No other exit" in sentence for sentence in words.section.sentences)


@pytest.mark.parametrize("is_closed", [True, False])
def test_only_what_is_left_is_said_to_keep_its_stop(is_closed: bool) -> None:
    facts = {"symbol": "BTC-USD", "quantity": "1", "is_closed": is_closed}

    words = words_of("closed_elsewhere", facts)

    assert any("keeps its stop" in said for said in words.section.sentences) is not is_closed


def test_what_was_too_little_to_sell_is_told() -> None:
    words = words_of("stop_hit", {"symbol": "BTC-USD", "dust": "0.00030"})

    assert ("Too little to sell", "0.0003") in words.section.figures


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("43210.5", "$43,210.50"),
        ("2.34561", "$2.34561"),
        ("0.00001234", "$0.00001234"),
        ("2.333333333333333333333333333", "$2.3333333"),
        ("100", "$100.00"),
        ("0", "$0.00"),
        ("soon", "soon"),
    ],
)
def test_prices_keep_the_places_that_tell_them_apart(stored: str, shown: str) -> None:
    words = words_of("trade_opened", {"symbol": "X-USD", "entry_price": stored})

    assert ("Entry price", shown) in words.section.figures
