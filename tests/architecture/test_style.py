"""The style guide as tests. Each message names the fix."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.architecture.product import Source, in_packages, sources
from worker import WORKFLOWS

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

# Ratchets: what exceeds a limit today, with its length. Entries may shrink and go, never grow.
LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}

COMMITTING = ("services", "migrations")
CLOCKS_AND_CHANCE = re.compile(
    r"^(datetime\.(now|utcnow|today)|date\.today|(uuid\.)?uuid4"
    r"|random\.\w+|secrets\.\w+|time\.(time|monotonic|perf_counter|sleep)|asyncio\.sleep)$"
)
BROAD = {"Exception", "BaseException"}
# A boundary catches everything because nobody above it could do better. Named one by one.
BOUNDARIES = {
    "adapters/venues/coinbase/client.py": "signing raises whatever the parsers of keys raise",
    "api/kit/edge.py": "the edge of a request: reported, and raised again if nothing was answered",
    "api/kit/rate_limits.py": "what failed first is told, whatever counting it meets",
    "api/nija/routes/operations.py": "a health check says unavailable to what can be explained",
    "services/isolation.py": "one part's trouble is not the others'",
    "services/markets/watch_keeping.py": "whatever breaks a venue's watch off, it begins again",
    "worker.py": "the loops of a worker go on whatever becomes of its connection to Temporal",
    "services/alerts/exit_decisions.py": "alerts wait in their rows, whatever deciding meets",
    "services/notifying/pump.py": "bots trade beside, whatever telling of news meets",
    "services/session_lock.py": "whoever stopped looking would believe for ever that it is held",
    "services/trading/kill_switch_rounds.py": "one bot's rows are not the others'",
    "services/orders/reconciling.py": "one part's trouble is not the others'",
    "services/orders/turns.py": "one account's trouble is not the others'",
    "services/trading/exit_dispatch.py": "one bot or venue that cannot be told is not the others'",
    "services/trading/exiting.py": "one position's rows are not the others'",
    "services/trading/prompt_exits.py": "what fails here is the workflow's to try again",
    "services/trading/hunting.py": "one run's or market's trouble is not the others'",
    "services/trading/sweeping.py": "one part's or bot's trouble is not the others'",
    "services/trading/signal_exits.py": "one signal's rows are not the others'",
    "services/trading/signals.py": "one market's trouble is not the others'",
    "services/trading/trailing.py": "one position's rows are not the others'",
    "supervisor/activity.py": "a screen must never bring the stack down",
}
# Indicators are statistics, not money; the other entries read numbers that are no amounts.
FLOATS_ALLOWED = re.compile(
    r"^(domain/indicators\.py|domain/money\.py|domain/performance\.py"
    r"|domain/strategies/apex/evaluation\.py|services/identity/tokens\.py)$"
)


def found(problems: Iterator[str], fix: str) -> str:
    """All problems and the way out, or nothing."""
    listed = sorted(problems)
    return "" if not listed else "\n".join([fix, *listed])


def test_files_are_short() -> None:
    problems = (
        f"{source.name}: {source.lines} lines"
        for source in sources()
        if source.lines > LONG_FILES.get(source.name, FILE_LINES_MAX)
    )

    assert not found(problems, f"Split files of more than {FILE_LINES_MAX} lines by what changes:")


def test_functions_are_short() -> None:
    problems = (
        f"{source.name}: {name} has {length} lines"
        for source in sources()
        for name, function in source.functions()
        for length in [_length(function)]
        if length > LONG_FUNCTIONS.get(f"{source.name}:{name}", FUNCTION_LINES_MAX)
    )

    assert not found(problems, f"Split functions of more than {FUNCTION_LINES_MAX} lines:")


def test_the_ratchet_holds_no_entry_that_is_not_needed_any_more() -> None:
    lengths = {source.name: source.lines for source in sources()}
    problems = (
        f"{name}: now {lengths.get(name, 0)}, noted {noted}"
        for name, noted in LONG_FILES.items()
        if lengths.get(name, 0) != noted
    )

    assert not found(problems, "Lower or remove these entries of LONG_FILES:")


def test_every_file_says_what_it_is_for() -> None:
    problems = (source.name for source in sources() if not ast.get_docstring(source.tree))

    assert not found(problems, "Begin with a docstring of one sentence:")


def test_transactions_are_committed_by_services_alone() -> None:
    problems = (
        f"{source.name}:{line}: {called}"
        for source in sources()
        if source.package not in COMMITTING and source.package != "simulator"
        for line, called in source.calls()
        if called.endswith(".commit")
    )

    assert not found(problems, "Open a transaction in a service instead:")


@pytest.mark.parametrize("package", ["domain", "workflows"])
def test_the_core_and_workflows_have_no_clock_and_no_chance(package: str) -> None:
    problems = (
        f"{source.name}:{line}: {called}"
        for source in in_packages(package)
        for line, called in source.calls()
        if CLOCKS_AND_CHANCE.match(called)
    )

    assert not found(problems, "Take the time or id as a parameter (workflows: workflow.now):")


def test_http_statuses_are_decided_in_the_api_kit() -> None:
    problems = (
        f"{source.name}:{line}"
        for source in sources()
        if not source.name.startswith("api/kit/")
        for line, called in source.calls()
        if called.split(".")[-1] == "HTTPException"
    )

    assert not found(problems, "Raise an error of the core; the dialect renders it:")


def test_money_is_never_a_float() -> None:
    problems = (
        f"{source.name}:{line}: {called}(...)"
        for source in in_packages("domain", "models", "services", "activities", "workflows")
        if not FLOATS_ALLOWED.match(source.name)
        for line, called in source.calls()
        if called == "float"
    )

    assert not found(problems, "Use Decimal:")


def test_exceptions_are_named() -> None:
    problems = (
        f"{source.name}:{node.lineno}"
        for source in sources()
        if source.name not in BOUNDARIES
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and _is_broad(node) and not _reraises(node)
    )

    assert not found(problems, "Catch what can happen by name, or name the file as a boundary:")


def test_every_boundary_is_still_one() -> None:
    broad = {
        source.name
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and _is_broad(node) and not _reraises(node)
    }

    assert set(BOUNDARIES) - broad == set(), "Remove it from BOUNDARIES"


def test_there_are_no_leftovers() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    problems = (
        f"{source.name}:{token.start[0]}: {token.string}"
        for source in sources()
        for token in _comments(source)
        if marks.search(token.string)
    )

    assert not found(problems, "Do it, or open an issue:")


def test_each_activity_and_workflow_name_is_registered_once() -> None:
    names = Counter(
        ast.literal_eval(keyword.value)
        for source in in_packages("activities")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "activity.defn"
        for keyword in node.keywords
        if keyword.arg == "name"
    )

    assert names
    assert [name for name, count in names.items() if count > 1] == []
    assert len({workflow.__name__ for workflow in WORKFLOWS}) == len(WORKFLOWS)


def test_every_activity_has_a_name_of_its_own() -> None:
    """A name taken from the function would change with it, under histories that hold it."""
    problems = (
        f"{source.name}: {name}"
        for source in in_packages("activities", "workflows")
        for name, function in source.functions()
        for decorator in function.decorator_list
        if ast.unparse(decorator) in {"activity.defn", "activity.defn()", "workflow.defn"}
    )

    assert not found(problems, 'Write @activity.defn(name="..."):')


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the signature to the end, without the docstring."""
    assert function.end_lineno is not None
    length = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None and first.end_lineno is not None:
        length -= first.end_lineno - first.lineno + 1
    return length


def _is_broad(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(ast.unparse(kind) in BROAD for kind in kinds)


def _reraises(handler: ast.ExceptHandler) -> bool:
    """Cleaning up and passing it on is no catching."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _comments(source: Source) -> Iterator[tokenize.TokenInfo]:
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type in {tokenize.COMMENT, tokenize.STRING}:
            yield token
