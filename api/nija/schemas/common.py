"""Wire models that several sections share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from api.kit.wire import View

Message = Annotated[str, Field(description="A sentence for people.")]


class MessageView(View):
    """An answer that is only a sentence."""

    message: Message


class Pagination(View):
    """Where a page stands in its list."""

    page: int = Field(examples=[1])
    per_page: int = Field(examples=[50])
    total_items: int = Field(examples=[234])
    total_pages: int = Field(examples=[5])
    has_next: bool = Field(examples=[True])
    has_prev: bool = Field(examples=[False])

    @classmethod
    def of(cls, *, page: int, per_page: int, total_items: int) -> Pagination:
        """The position of a page."""
        total_pages = -(-total_items // per_page)
        return cls(
            page=page,
            per_page=per_page,
            total_items=total_items,
            total_pages=total_pages,
            has_next=page < total_pages,
            has_prev=1 < page <= total_pages + 1,
        )
