"""Settings and brokers. Generated from the OpenAPI document by sdk/generate.py; do not edit."""

from __future__ import annotations

from typing import Literal

from nija_sdk import models
from nija_sdk._calls import Operation
from nija_sdk._resource import AsyncResource, Resource

_SETTINGS = Operation("GET", "/config/settings")
_UPDATE_SETTINGS = Operation("PUT", "/config/settings", keyed=True)
_BROKERS = Operation("GET", "/config/brokers")
_ADD_BROKER = Operation("POST", "/config/brokers", keyed=True)
_ROTATE_BROKER = Operation("PUT", "/config/brokers/{broker_id}", keyed=True)
_REMOVE_BROKER = Operation("DELETE", "/config/brokers/{broker_id}", keyed=True)
_TEST_BROKER = Operation("POST", "/config/brokers/{broker_id}/test", keyed=True)
_WEBHOOKS = Operation("GET", "/config/webhooks")
_CREATE_WEBHOOK = Operation("POST", "/config/webhooks", keyed=True)
_REMOVE_WEBHOOK = Operation("DELETE", "/config/webhooks", keyed=True)
_NOTIFICATIONS = Operation("GET", "/config/notifications")
_UPDATE_NOTIFICATIONS = Operation("PUT", "/config/notifications", keyed=True)
_TEST_NOTIFICATIONS = Operation("POST", "/config/notifications/test", keyed=True)
_ADD_CHANNEL = Operation("POST", "/config/notifications/channels", keyed=True)
_UPDATE_CHANNEL = Operation("PATCH", "/config/notifications/channels/{channel_id}", keyed=True)
_REMOVE_CHANNEL = Operation("DELETE", "/config/notifications/channels/{channel_id}", keyed=True)
_TEST_CHANNEL = Operation("POST", "/config/notifications/channels/{channel_id}/test", keyed=True)


class Config(Resource):
    """Settings and brokers."""

    def settings(self) -> models.SettingsData:
        """All settings."""
        return self._call(
            _SETTINGS,
            models.SettingsData,
        )

    def update_settings(
        self,
        *,
        trading: models.TradingChange | None = None,
        notifications: models.NotificationChange | None = None,
        advanced: models.AdvancedChange | None = None,
        idempotency_key: str | None = None,
    ) -> models.SettingsChangedData:
        """Change some settings; `updated_fields` names those whose value is another one now.

        Args:
            trading: Trading.
            notifications: Notifications.
            advanced: Advanced.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _UPDATE_SETTINGS,
            models.SettingsChangedData,
            body={"trading": trading, "notifications": notifications, "advanced": advanced},
            idempotency_key=idempotency_key,
        )

    def brokers(self) -> models.BrokersData:
        """Broker connections; keys are never shown."""
        return self._call(
            _BROKERS,
            models.BrokersData,
        )

    def add_broker(
        self,
        *,
        api_key: str,
        api_secret: str,
        broker: str,
        additional_params: dict[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> models.BrokerConnectedData:
        """Connect a broker.

        Keys are verified there, stored encrypted, and never returned.

        Args:
            api_key: Such as `your_api_key_here`.
            api_secret: Such as `your_api_secret_here`.
            additional_params: Additional params.
            broker: Such as `coinbase`.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _ADD_BROKER,
            models.BrokerConnectedData,
            body={
                "api_key": api_key,
                "api_secret": api_secret,
                "additional_params": additional_params,
                "broker": broker,
            },
            idempotency_key=idempotency_key,
        )

    def rotate_broker(
        self,
        broker_id: str,
        *,
        api_key: str,
        api_secret: str,
        additional_params: dict[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> models.BrokerConnectedData:
        """Replace the keys by new ones of the same account; running bots go on with them.

        Args:
            broker_id: Which one: `broker_id` of an earlier answer.
            api_key: Such as `your_api_key_here`.
            api_secret: Such as `your_api_secret_here`.
            additional_params: Additional params.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _ROTATE_BROKER,
            models.BrokerConnectedData,
            path={"broker_id": broker_id},
            body={
                "api_key": api_key,
                "api_secret": api_secret,
                "additional_params": additional_params,
            },
            idempotency_key=idempotency_key,
        )

    def remove_broker(
        self, broker_id: str, *, force: bool | None = None, idempotency_key: str | None = None
    ) -> models.BrokerRemovedData:
        """Remove a broker.

        With open positions it only exits from now on, unless forced.

        Args:
            broker_id: Which one: `broker_id` of an earlier answer.
            force: Remove at once, leaving open positions unmanaged.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _REMOVE_BROKER,
            models.BrokerRemovedData,
            path={"broker_id": broker_id},
            query={"force": force},
            idempotency_key=idempotency_key,
        )

    def test_broker(
        self, broker_id: str, *, idempotency_key: str | None = None
    ) -> models.BrokerTestData:
        """Ask the broker whether the stored keys work.

        Args:
            broker_id: Which one: `broker_id` of an earlier answer.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _TEST_BROKER,
            models.BrokerTestData,
            path={"broker_id": broker_id},
            idempotency_key=idempotency_key,
        )

    def webhooks(self) -> models.WebhookKeysData:
        """The webhook keys that are good at present; their secrets are never shown again."""
        return self._call(
            _WEBHOOKS,
            models.WebhookKeysData,
        )

    def create_webhook(
        self, *, overlap_minutes: int | None = None, idempotency_key: str | None = None
    ) -> models.WebhookKeyIssuedData:
        """Make the webhook key, or replace it.

        It is shown this once.

        Args:
            overlap_minutes: How long the replaced key stays good.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _CREATE_WEBHOOK,
            models.WebhookKeyIssuedData,
            body={"overlap_minutes": overlap_minutes},
            idempotency_key=idempotency_key,
        )

    def remove_webhook(self, *, idempotency_key: str | None = None) -> models.MessageView:
        """End the webhook key at once, and any that it replaced.

        Args:
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _REMOVE_WEBHOOK,
            models.MessageView,
            idempotency_key=idempotency_key,
        )

    def notifications(self) -> models.NotificationsConfigData:
        """When reports come, where mails go, and every channel; addresses are masked."""
        return self._call(
            _NOTIFICATIONS,
            models.NotificationsConfigData,
        )

    def update_notifications(
        self,
        *,
        timezone: str | None = None,
        report_time: str | None = None,
        weekly_day: Literal[
            "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"
        ]
        | None = None,
        idempotency_key: str | None = None,
    ) -> models.NotificationPreferencesData:
        """Change the time zone, the time and the day of reports; their schedules follow.

        Args:
            timezone: Such as `Europe/Berlin`.
            report_time: Such as `08:00`.
            weekly_day: Such as `monday`.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _UPDATE_NOTIFICATIONS,
            models.NotificationPreferencesData,
            body={"timezone": timezone, "report_time": report_time, "weekly_day": weekly_day},
            idempotency_key=idempotency_key,
        )

    def test_notifications(self, *, idempotency_key: str | None = None) -> models.ChannelTestData:
        """Mail a test notification to the own address.

        Args:
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _TEST_NOTIFICATIONS,
            models.ChannelTestData,
            idempotency_key=idempotency_key,
        )

    def add_channel(
        self,
        *,
        name: str,
        url: str,
        categories: list[Literal["trades", "alerts", "billing", "reports"]] | None = None,
        idempotency_key: str | None = None,
    ) -> models.ChannelItem:
        """Add a channel.

        Its address is checked, stored encrypted, and never returned.

        Args:
            name: Such as `Phone`.
            url: mailto(s)://, json(s)://, xml(s)://, form(s)://, ntfy(s)://, gotify(s)://,
                mmost(s)://, rocket(s)://, discord://, slack://, tgram://, gchat://, webex://,
                workflows://, zulip://, pover://, pbul://, prowl://, join://, pagerduty://,
                opsgenie://, twilio://; stored encrypted and never shown again.
            categories: All where left out.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _ADD_CHANNEL,
            models.ChannelItem,
            body={"name": name, "url": url, "categories": categories},
            idempotency_key=idempotency_key,
        )

    def update_channel(
        self,
        channel_id: str,
        *,
        name: str | None = None,
        url: str | None = None,
        categories: list[Literal["trades", "alerts", "billing", "reports"]] | None = None,
        enabled: bool | None = None,
        idempotency_key: str | None = None,
    ) -> models.ChannelItem:
        """Change name, address or categories of a channel, or switch it on or off.

        Args:
            channel_id: Which one: `channel_id` of an earlier answer.
            name: Such as `Phone`.
            url: Such as `ntfys://ntfy.sh/my-topic`.
            categories: Categories.
            enabled: Enabled.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _UPDATE_CHANNEL,
            models.ChannelItem,
            path={"channel_id": channel_id},
            body={"name": name, "url": url, "categories": categories, "enabled": enabled},
            idempotency_key=idempotency_key,
        )

    def remove_channel(
        self, channel_id: str, *, idempotency_key: str | None = None
    ) -> models.MessageView:
        """Remove a channel, with what is still on its way to it.

        Args:
            channel_id: Which one: `channel_id` of an earlier answer.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _REMOVE_CHANNEL,
            models.MessageView,
            path={"channel_id": channel_id},
            idempotency_key=idempotency_key,
        )

    def test_channel(
        self, channel_id: str, *, idempotency_key: str | None = None
    ) -> models.ChannelTestData:
        """Send a test notification to a channel, once.

        Args:
            channel_id: Which one: `channel_id` of an earlier answer.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _TEST_CHANNEL,
            models.ChannelTestData,
            path={"channel_id": channel_id},
            idempotency_key=idempotency_key,
        )


class AsyncConfig(AsyncResource):
    """Settings and brokers."""

    async def settings(self) -> models.SettingsData:
        """All settings."""
        return await self._call(
            _SETTINGS,
            models.SettingsData,
        )

    async def update_settings(
        self,
        *,
        trading: models.TradingChange | None = None,
        notifications: models.NotificationChange | None = None,
        advanced: models.AdvancedChange | None = None,
        idempotency_key: str | None = None,
    ) -> models.SettingsChangedData:
        """Change some settings; `updated_fields` names those whose value is another one now.

        Args:
            trading: Trading.
            notifications: Notifications.
            advanced: Advanced.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _UPDATE_SETTINGS,
            models.SettingsChangedData,
            body={"trading": trading, "notifications": notifications, "advanced": advanced},
            idempotency_key=idempotency_key,
        )

    async def brokers(self) -> models.BrokersData:
        """Broker connections; keys are never shown."""
        return await self._call(
            _BROKERS,
            models.BrokersData,
        )

    async def add_broker(
        self,
        *,
        api_key: str,
        api_secret: str,
        broker: str,
        additional_params: dict[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> models.BrokerConnectedData:
        """Connect a broker.

        Keys are verified there, stored encrypted, and never returned.

        Args:
            api_key: Such as `your_api_key_here`.
            api_secret: Such as `your_api_secret_here`.
            additional_params: Additional params.
            broker: Such as `coinbase`.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _ADD_BROKER,
            models.BrokerConnectedData,
            body={
                "api_key": api_key,
                "api_secret": api_secret,
                "additional_params": additional_params,
                "broker": broker,
            },
            idempotency_key=idempotency_key,
        )

    async def rotate_broker(
        self,
        broker_id: str,
        *,
        api_key: str,
        api_secret: str,
        additional_params: dict[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> models.BrokerConnectedData:
        """Replace the keys by new ones of the same account; running bots go on with them.

        Args:
            broker_id: Which one: `broker_id` of an earlier answer.
            api_key: Such as `your_api_key_here`.
            api_secret: Such as `your_api_secret_here`.
            additional_params: Additional params.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _ROTATE_BROKER,
            models.BrokerConnectedData,
            path={"broker_id": broker_id},
            body={
                "api_key": api_key,
                "api_secret": api_secret,
                "additional_params": additional_params,
            },
            idempotency_key=idempotency_key,
        )

    async def remove_broker(
        self, broker_id: str, *, force: bool | None = None, idempotency_key: str | None = None
    ) -> models.BrokerRemovedData:
        """Remove a broker.

        With open positions it only exits from now on, unless forced.

        Args:
            broker_id: Which one: `broker_id` of an earlier answer.
            force: Remove at once, leaving open positions unmanaged.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _REMOVE_BROKER,
            models.BrokerRemovedData,
            path={"broker_id": broker_id},
            query={"force": force},
            idempotency_key=idempotency_key,
        )

    async def test_broker(
        self, broker_id: str, *, idempotency_key: str | None = None
    ) -> models.BrokerTestData:
        """Ask the broker whether the stored keys work.

        Args:
            broker_id: Which one: `broker_id` of an earlier answer.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _TEST_BROKER,
            models.BrokerTestData,
            path={"broker_id": broker_id},
            idempotency_key=idempotency_key,
        )

    async def webhooks(self) -> models.WebhookKeysData:
        """The webhook keys that are good at present; their secrets are never shown again."""
        return await self._call(
            _WEBHOOKS,
            models.WebhookKeysData,
        )

    async def create_webhook(
        self, *, overlap_minutes: int | None = None, idempotency_key: str | None = None
    ) -> models.WebhookKeyIssuedData:
        """Make the webhook key, or replace it.

        It is shown this once.

        Args:
            overlap_minutes: How long the replaced key stays good.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _CREATE_WEBHOOK,
            models.WebhookKeyIssuedData,
            body={"overlap_minutes": overlap_minutes},
            idempotency_key=idempotency_key,
        )

    async def remove_webhook(self, *, idempotency_key: str | None = None) -> models.MessageView:
        """End the webhook key at once, and any that it replaced.

        Args:
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _REMOVE_WEBHOOK,
            models.MessageView,
            idempotency_key=idempotency_key,
        )

    async def notifications(self) -> models.NotificationsConfigData:
        """When reports come, where mails go, and every channel; addresses are masked."""
        return await self._call(
            _NOTIFICATIONS,
            models.NotificationsConfigData,
        )

    async def update_notifications(
        self,
        *,
        timezone: str | None = None,
        report_time: str | None = None,
        weekly_day: Literal[
            "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"
        ]
        | None = None,
        idempotency_key: str | None = None,
    ) -> models.NotificationPreferencesData:
        """Change the time zone, the time and the day of reports; their schedules follow.

        Args:
            timezone: Such as `Europe/Berlin`.
            report_time: Such as `08:00`.
            weekly_day: Such as `monday`.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _UPDATE_NOTIFICATIONS,
            models.NotificationPreferencesData,
            body={"timezone": timezone, "report_time": report_time, "weekly_day": weekly_day},
            idempotency_key=idempotency_key,
        )

    async def test_notifications(
        self, *, idempotency_key: str | None = None
    ) -> models.ChannelTestData:
        """Mail a test notification to the own address.

        Args:
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _TEST_NOTIFICATIONS,
            models.ChannelTestData,
            idempotency_key=idempotency_key,
        )

    async def add_channel(
        self,
        *,
        name: str,
        url: str,
        categories: list[Literal["trades", "alerts", "billing", "reports"]] | None = None,
        idempotency_key: str | None = None,
    ) -> models.ChannelItem:
        """Add a channel.

        Its address is checked, stored encrypted, and never returned.

        Args:
            name: Such as `Phone`.
            url: mailto(s)://, json(s)://, xml(s)://, form(s)://, ntfy(s)://, gotify(s)://,
                mmost(s)://, rocket(s)://, discord://, slack://, tgram://, gchat://, webex://,
                workflows://, zulip://, pover://, pbul://, prowl://, join://, pagerduty://,
                opsgenie://, twilio://; stored encrypted and never shown again.
            categories: All where left out.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _ADD_CHANNEL,
            models.ChannelItem,
            body={"name": name, "url": url, "categories": categories},
            idempotency_key=idempotency_key,
        )

    async def update_channel(
        self,
        channel_id: str,
        *,
        name: str | None = None,
        url: str | None = None,
        categories: list[Literal["trades", "alerts", "billing", "reports"]] | None = None,
        enabled: bool | None = None,
        idempotency_key: str | None = None,
    ) -> models.ChannelItem:
        """Change name, address or categories of a channel, or switch it on or off.

        Args:
            channel_id: Which one: `channel_id` of an earlier answer.
            name: Such as `Phone`.
            url: Such as `ntfys://ntfy.sh/my-topic`.
            categories: Categories.
            enabled: Enabled.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _UPDATE_CHANNEL,
            models.ChannelItem,
            path={"channel_id": channel_id},
            body={"name": name, "url": url, "categories": categories, "enabled": enabled},
            idempotency_key=idempotency_key,
        )

    async def remove_channel(
        self, channel_id: str, *, idempotency_key: str | None = None
    ) -> models.MessageView:
        """Remove a channel, with what is still on its way to it.

        Args:
            channel_id: Which one: `channel_id` of an earlier answer.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _REMOVE_CHANNEL,
            models.MessageView,
            path={"channel_id": channel_id},
            idempotency_key=idempotency_key,
        )

    async def test_channel(
        self, channel_id: str, *, idempotency_key: str | None = None
    ) -> models.ChannelTestData:
        """Send a test notification to a channel, once.

        Args:
            channel_id: Which one: `channel_id` of an earlier answer.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _TEST_CHANNEL,
            models.ChannelTestData,
            path={"channel_id": channel_id},
            idempotency_key=idempotency_key,
        )
