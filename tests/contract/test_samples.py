"""Every published call answers every field of its published sample, with the same JSON type."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.contract.seed import FOLDER_VARIABLE, SeedCall, calls, differences, document
from tests.contract.story import ADMIN_EMAIL, ADMIN_PASSWORD, Story
from tests.contract.till import KEY, served_standin
from tests.support.up import running_stack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LINES = document()
if LINES is None:
    pytest.skip(f"{FOLDER_VARIABLE} names no folder", allow_module_level=True)
PUBLISHED = {call.name: call for call in calls(LINES)}
UNKNOWN = {".data.metrics.recovery_time_days: null instead of number"}
"""What a young account cannot know: its drawdown has not recovered yet."""

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
        story = Story(stack, standin, PUBLISHED)
        story.tell()
        yield story


def test_the_document_is_read_whole() -> None:
    assert len(PUBLISHED) == 37
    assert len(SAMPLED) == 36


@pytest.mark.parametrize("call", SAMPLED, ids=lambda call: call.name)
def test_the_answer_has_what_the_sample_shows(story: Story, call: SeedCall) -> None:
    answer = story.answers.get(call.name)
    failures = {name: str(one) for name, one in story.answers.items() if isinstance(one, Exception)}
    assert isinstance(answer, httpx.Response), f"not called; the story broke: {failures}"
    assert answer.status_code == 200, answer.text
    live = answer.json()
    assert set(differences(call.response, live)) <= UNKNOWN
    assert live["timestamp"].endswith("Z")
