"""All groups of methods. Generated from the OpenAPI document by sdk/generate.py; do not edit."""

from nija_sdk._transport import AsyncTransport, Transport
from nija_sdk.resources.account import Account, AsyncAccount
from nija_sdk.resources.admin import Admin, AsyncAdmin
from nija_sdk.resources.analytics import Analytics, AsyncAnalytics
from nija_sdk.resources.auth import AsyncAuth, Auth
from nija_sdk.resources.config import AsyncConfig, Config
from nija_sdk.resources.subscription import AsyncSubscription, Subscription
from nija_sdk.resources.trading import AsyncTrading, Trading
from nija_sdk.resources.webhooks import AsyncWebhooks, Webhooks


class Groups:
    """One attribute for each group of endpoints."""

    def __init__(self, transport: Transport) -> None:
        self.auth = Auth(transport)
        self.trading = Trading(transport)
        self.account = Account(transport)
        self.config = Config(transport)
        self.subscription = Subscription(transport)
        self.analytics = Analytics(transport)
        self.admin = Admin(transport)
        self.webhooks = Webhooks(transport)


class AsyncGroups:
    """One attribute for each group of endpoints."""

    def __init__(self, transport: AsyncTransport) -> None:
        self.auth = AsyncAuth(transport)
        self.trading = AsyncTrading(transport)
        self.account = AsyncAccount(transport)
        self.config = AsyncConfig(transport)
        self.subscription = AsyncSubscription(transport)
        self.analytics = AsyncAnalytics(transport)
        self.admin = AsyncAdmin(transport)
        self.webhooks = AsyncWebhooks(transport)
