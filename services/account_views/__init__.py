"""What an account holds and how it did: pure reads from PostgreSQL."""

from services.account_views.views import AccountViews

__all__ = ["AccountViews"]
