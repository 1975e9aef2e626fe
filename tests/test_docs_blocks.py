"""Every fenced block of the pages is run by a test, or listed here with the reason why not.

A row says of which page and kind a block is, how it begins, and `file::test` of the test that runs it; or, in words, why none does. A block
that no row fits is a failure. So is a row that fits no block, and one whose test is not there or does not read that page.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import NamedTuple

import pytest

from tests.shown import ROOT, Block, blocks_of, pages

pytestmark = pytest.mark.covers("main-path:judged:2")

PLAIN, CLUSTER, OTHERS = "tests/test_docs.py::test_", "tests/test_docs_cluster.py::test_", "tests/test_docs_others.py::test_"
CONTAINERS, GUIDE = "tests/test_docs_containers.py::test_", "tests/test_http_guide.py::test_"
TRACES = "tests/system/test_tracing.py::test_"
REFERENCE, WIRE = "tests/cli/test_reference.py::test_", "tests/wire/test_grammar.py::test_"


class Row(NamedTuple):
    page: str
    kind: str
    beginning: str
    how: str


TABLE = [
    Row("CONTRIBUTING.md", "", "python3 -m venv .venv", OTHERS + "first_lines_for_contributors_name_what_is_there"),
    Row("README.md", "python", "", PLAIN + "python_of_the_readme_does_what_it_shows"),
    Row("README.md", "", "python3 -m venv .venv && ", OTHERS + "first_two_commands_of_the_readme_name_what_is_there"),
    Row("README.md", "", "source .venv/bin/activate\n", CLUSTER + "requests_of_the_readme_do_what_they_show"),
    Row("README.md", "", "zjp submit email ", PLAIN + "commands_of_the_readme_do_what_they_show"),
    Row("README.md", "", "curl -X POST ", CLUSTER + "requests_of_the_readme_do_what_they_show"),
    Row("README.md", "", "python -m zjp.node ", CLUSTER + "three_nodes_of_the_readme_elect_a_leader"),
    Row("README.md", "", "python -m sims.live ", OTHERS + "faults_of_the_readme_are_lines_that_their_program_takes"),
    Row("compose/README.md", "sh", "", CONTAINERS + "commands_of_the_page_do_what_they_show_but_for_the_engine"),
    Row("compose/README.md", "dockerfile", "", CONTAINERS + "image_on_top_is_made_of_what_the_image_has"),
    Row("deploy/README.md", "sh", "", OTHERS + "manifests_that_the_page_applies_are_there_and_can_be_rendered"),
    Row("docs/cli.md", "", "zjp submit email ", PLAIN + "examples_of_the_reference_do_what_they_show"),
    Row("docs/cli.md", "", "zjp schedules add nightly ", PLAIN + "examples_of_the_reference_do_what_they_show"),
    Row("docs/cli.md", "", "zjp schedules add beat ", PLAIN + "examples_of_the_reference_do_what_they_show"),
    Row("docs/cli.md", "", "zjp ", REFERENCE + "the_reference_is_up_to_date"),
    Row("docs/cluster.md", "", "", CLUSTER + "line_of_the_page_on_clusters_starts_nodes_that_share_a_queue"),
    Row("docs/concepts.md", "", "submit ──► scheduled ", "a drawing; the states in it are those of job.py, which its own tests hold"),
    Row("docs/http.md", "", "", CLUSTER + "node_of_the_guide_to_http_starts_and_lets_its_users_in"),
    Row("docs/http.md", "bash", "", GUIDE + "shell_of_the_guide_does_what_it_shows"),
    Row("docs/http.md", "python", "", GUIDE + "python_of_the_guide_does_what_it_shows"),
    Row("docs/monitoring.md", "yaml", "scrape_configs:\n", OTHERS + "promtool_takes_the_configuration_that_the_page_on_monitoring_shows"),
    Row("docs/monitoring.md", "yaml", "triggers:\n", OTHERS + "query_for_scaling_counts_each_queue_once"),
    Row("docs/monitoring.md", "", "", OTHERS + "query_for_scaling_counts_each_queue_once"),
    Row("docs/operations.md", "", "", CLUSTER + "two_nodes_of_the_readme_share_a_queue_and_one_takes_over_from_the_other"),
    Row("docs/schedules.md", "", "", PLAIN + "page_on_schedules_does_what_it_shows"),
    Row("docs/schedules.md", "python", "", PLAIN + "page_on_schedules_does_what_it_shows"),
    Row("docs/security.md", "", "", CLUSTER + "keys_of_the_page_on_security_let_a_client_in_as_it_shows"),
    Row("docs/tasks.md", "python", "", PLAIN + "python_of_the_page_on_tasks_does_what_it_shows"),
    Row("docs/tracing.md", "", "OTEL_SERVICE_NAME=", TRACES + "page_on_tracing_does_what_it_shows"),
    Row("docs/tracing.md", "python", "", TRACES + "page_on_tracing_does_what_it_shows"),
    Row("docs/wire.md", "", "Job = [", WIRE + "page_is_up_to_date"),
    Row("docs/wire.md", "python", "", WIRE + "program_of_the_page_submits_a_valid_job"),
    Row("docs/wire.md", "hex request", "", WIRE + "bytes_of_the_example_are_the_submit_that_the_page_says"),
    Row("docs/wire.md", "hex envelope", "", WIRE + "bytes_of_the_example_are_the_submit_that_the_page_says"),
    Row("docs/wire.md", "hex reply", "", WIRE + "bytes_of_the_answer_are_the_reply_that_the_page_says"),
]
"""The first that fits counts."""


def row_of(block: Block) -> Row | None:
    fitting = (row for row in TABLE if (row.page, row.kind) == (block.page, block.kind) and block.text.startswith(row.beginning))
    return next(fitting, None)


def all_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks_of(page)]


@cache
def functions_of(path: str) -> frozenset[str]:
    file = ROOT / path
    found = ast.walk(ast.parse(file.read_text())) if file.exists() else ()
    return frozenset(node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_block_is_run_by_a_test_or_listed_with_the_reason() -> None:
    assert [(block.page, block.kind, block.text[:80]) for block in all_blocks() if row_of(block) is None] == []


def test_every_row_fits_a_block() -> None:
    assert set(TABLE) - {row_of(block) for block in all_blocks()} == set()


def test_every_test_that_is_named_is_there() -> None:
    rows = [row for row in TABLE if "::" in row.how]
    assert [row.how for row in rows if row.how.partition("::")[2] not in functions_of(row.how.partition("::")[0])] == []


def test_blocks_are_found_however_they_are_fenced() -> None:
    kinds = {(block.page, block.kind) for block in all_blocks()}
    assert {("docs/wire.md", "hex request"), ("README.md", ""), ("compose/README.md", "dockerfile")} <= kinds
    opened = {page: (ROOT / page).read_text().count("\n```") for page in pages()}
    assert {page: 2 * len(blocks_of(page)) for page in pages()} == opened
