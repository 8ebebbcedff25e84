"""Every published call and live update shows every field of its sample, with the same JSON type."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.contract.seed import (
    FOLDER_VARIABLE,
    SeedCall,
    calls,
    differences,
    document,
    frames,
)
from tests.contract.story import ADMIN_EMAIL, ADMIN_PASSWORD, EXECUTIONS, Story
from tests.contract.till import KEY, served_standin
from tests.support.up import running_stack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LINES = document()
if LINES is None:
    pytest.skip(f"{FOLDER_VARIABLE} names no folder", allow_module_level=True)
PUBLISHED = {call.name: call for call in calls(LINES)}
FRAMES = frames(LINES)
SAID = {"auth", "subscribe positions", "subscribe trades"}
UNKNOWN = {
    ".data.metrics.recovery_time_days: null instead of number",
    ".data.metrics.sharpe_ratio: null instead of number",
}
"""What an account of one day cannot know: when its drawdown recovers, and how much days differ."""

SAMPLED = [call for call in PUBLISHED.values() if call.response is not None]


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with (
        served_standin() as standin,
        running_stack(
            NIJA_SIMULATOR_FEE_TIER="vip",
            NIJA_STRIPE_SECRET_KEY=KEY,
            NIJA_STRIPE_API_BASE=standin.url,
            NIJA_ADMIN_EMAIL=ADMIN_EMAIL,
            NIJA_ADMIN_PASSWORD=ADMIN_PASSWORD,
        ) as stack,
    ):
        story = Story(stack, standin, PUBLISHED, FRAMES)
        story.tell()
        yield story


def test_the_document_is_read_whole() -> None:
    assert len(PUBLISHED) == 37
    assert len(SAMPLED) == 36
    heard = {"auth_success", "position_update positions", "trade_executed trades"}
    assert set(FRAMES) == SAID | heard


@pytest.mark.parametrize("call", SAMPLED, ids=lambda call: call.name)
def test_the_answer_has_what_the_sample_shows(story: Story, call: SeedCall) -> None:
    check(story, call.name, call)


def test_executions_are_audited_as_the_sample_shows(story: Story) -> None:
    check(story, EXECUTIONS, PUBLISHED["GET /admin/audit-logs"])


@pytest.mark.parametrize("name", sorted(set(FRAMES) - SAID))
def test_the_frame_has_what_the_sample_shows(story: Story, name: str) -> None:
    assert name in story.heard, f"not heard; the story broke: {failures(story)}"
    assert differences(FRAMES[name], story.heard[name]) == []


def check(story: Story, name: str, call: SeedCall) -> None:
    """An answer of the story against a published sample."""
    answer = story.answers.get(name)
    assert isinstance(answer, httpx.Response), f"not called; the story broke: {failures(story)}"
    assert answer.status_code == 200, answer.text
    live = answer.json()
    assert set(differences(call.response, live)) <= UNKNOWN
    assert live["timestamp"].endswith("Z")


def failures(story: Story) -> dict[str, str]:
    """What went wrong on the way."""
    return {name: repr(one) for name, one in story.answers.items() if isinstance(one, Exception)}
