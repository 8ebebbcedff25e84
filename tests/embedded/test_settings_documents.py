"""`.env.example` and `docker-compose.yml` agree with the settings they set."""

import re
from pathlib import Path
from typing import Any

import pytest

from settings import Settings

ROOT = Path(__file__).parents[2]
LISTED = re.compile(r"^#?(NIJA_[A-Z0-9_]+)=(.*)$", re.MULTILINE)


def listed() -> dict[str, str]:
    return dict(LISTED.findall((ROOT / ".env.example").read_text(encoding="utf-8")))


def names() -> set[str]:
    return {f"NIJA_{field.upper()}" for field in Settings.model_fields}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in names():
        monkeypatch.delenv(name, raising=False)


def test_the_example_lists_exactly_the_settings() -> None:
    assert set(listed()) == names()


def test_the_example_gives_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = Settings()
    for name, value in listed().items():
        if value:
            monkeypatch.setenv(name, value)
    assert Settings() == defaults


def test_the_example_leaves_empty_only_what_is_empty() -> None:
    defaults = Settings().model_dump()
    for name, value in listed().items():
        default = defaults[name.removeprefix("NIJA_").lower()]
        assert (value == "") == (default in (None, "")), name


def compose() -> dict[str, Any]:
    yaml: Any = pytest.importorskip("yaml")
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return loaded


SERVICES = {"postgres", "temporal", "temporal-ui", "migrate", "worker", "exits-worker", "api"}
SERVICE_KEYS = {
    "build", "cap_drop", "command", "configs", "depends_on", "environment", "healthcheck", "image",
    "init", "ports", "read_only", "restart", "security_opt", "shm_size", "stop_grace_period",
    "tmpfs", "volumes",
}  # fmt: skip


def test_compose_has_the_services_and_only_known_keys() -> None:
    document = compose()
    assert set(document["services"]) == SERVICES
    for service in document["services"].values():
        assert set(service) <= SERVICE_KEYS
        assert "image" in service
        assert "restart" in service


def test_compose_waits_only_for_what_can_be_waited_for() -> None:
    services = compose()["services"]
    for service in services.values():
        for name, condition in service.get("depends_on", {}).items():
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[name]
            else:
                assert condition["condition"] == "service_completed_successfully"
                assert services[name]["restart"] == "on-failure"


def test_compose_sets_only_settings_that_exist() -> None:
    services = compose()["services"]
    for name in ("migrate", "worker", "exits-worker", "api"):
        assert set(services[name]["environment"]) <= names()


def test_compose_holds_no_secret_and_names_each_it_needs() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    head = text.split("\nname:")[0]
    for secret in re.findall(r"\$\{([A-Z_]+):\?\}", text):
        assert secret in head
    body = text.removeprefix(head)
    for value in re.findall(r"\w*(?:PASSWORD|SECRET|PWD|KEYS): (.+)", body):
        assert value.startswith("${")


@pytest.mark.parametrize("name", ["worker", "exits-worker", "api"])
def test_scaled_services_have_no_name_or_port_of_their_own(name: str) -> None:
    service = compose()["services"][name]
    assert "container_name" not in service
    for port in service.get("ports", []):
        assert re.search(r"\d+-\d+", port), "one fixed port would stop the second process"
