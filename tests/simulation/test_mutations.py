"""The mutations still find what they break; whether each is caught is `make mutations`."""

from __future__ import annotations

import pytest

from simulation.mutations import MUTATIONS, ROOT, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_finds_what_it_breaks_exactly_once(mutation: Mutation) -> None:
    for edit in mutation.edits:
        text = (ROOT / edit.file).read_text(encoding="utf-8")

        assert text.count(edit.before) == 1, edit.file
        assert edit.after != edit.before
