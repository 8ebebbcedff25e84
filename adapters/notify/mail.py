"""A letter as a mail: text and HTML, the picture inside, the headers mail programs look for."""

from __future__ import annotations

from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import parseaddr
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from adapters.notify.curve import draw_curve
from domain.notifications import Letter

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(("html.j2",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_CURVE_ID = "equity-curve"
_SHORTEST_CURVE = 2


class _OneLine(UnstructuredHeader, BaseHeader):
    """A header that is never folded: a link has no place to break it at.

    Folding would write a long one as encoded words, which mail programs do not read there.
    """

    def fold(self, *, policy: Policy) -> str:
        """The header as it is; with a link of ours it is far below the 998 characters of a line."""
        return f"List-Unsubscribe: {self}{policy.linesep}"


_HEADERS = HeaderRegistry()
_HEADERS.map_to_type("list-unsubscribe", _OneLine)
_POLICY = SMTP.clone(cte_type="7bit", header_factory=_HEADERS)


def write_text(letter: Letter) -> str:
    """The letter as plain text, for chats, push services and mail programs without HTML."""
    return _TEMPLATES.get_template("letter.txt.j2").render(letter=letter).strip() + "\n"


def write_mail(letter: Letter, *, sender: str, receiver: str) -> EmailMessage:
    """The letter as a mail.

    Args:
        letter: what to say; its id and time make Message-ID and Date, the same at every attempt.
        sender: From, with or without a name.
        receiver: the address it goes to.
    """
    name, address = parseaddr(sender)
    domain = address.rpartition("@")[2] or "localhost"
    mail = EmailMessage(policy=_POLICY)
    mail["Subject"] = one_line(letter.subject)
    mail["From"] = Address(display_name=one_line(name), addr_spec=address)
    mail["To"] = Address(addr_spec=receiver)
    mail["Date"] = letter.made_at
    mail["Message-ID"] = f"<{letter.id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    if letter.is_urgent:
        mail["Importance"] = "high"
    if letter.unsubscribe_url is not None:
        mail["List-Unsubscribe"] = f"<{letter.unsubscribe_url}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail.set_content(write_text(letter))
    has_curve = len(letter.curve) >= _SHORTEST_CURVE
    picture_id = f"{_CURVE_ID}@{domain}" if has_curve else None
    page = _TEMPLATES.get_template("letter.html.j2").render(letter=letter, picture=picture_id)
    mail.add_alternative(page, subtype="html")
    if picture_id is not None:
        parts = mail.get_payload()
        assert isinstance(parts, list)
        page_part = parts[1]
        assert isinstance(page_part, EmailMessage)
        page_part.add_related(
            draw_curve(letter.curve),
            "image",
            "png",
            cid=f"<{picture_id}>",
            filename="equity-curve.png",
            disposition="inline",
        )
    return mail


def one_line(text: str) -> str:
    """A text that is safe in a header."""
    return " ".join(text.split())
