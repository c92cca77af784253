"""The configuration that the server reads says what the contract says, both ways."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext import contract
from bionemo_ext.contract import Kind, Level, TaskInfo
from bionemo_ext.errors import ConfigError, NotFoundError

names = st.from_regex(r"[a-z][a-z0-9_]{3,20}", fullmatch=True).filter(
    lambda name: name not in contract._RESERVED
)
classes = st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=9, unique=True)
tasks = st.one_of(
    st.builds(
        TaskInfo,
        names,
        st.sampled_from(Level),
        st.sampled_from([Kind.CLASSIFICATION, Kind.MULTILABEL]),
        classes.map(tuple),
    ),
    st.builds(TaskInfo, names, st.sampled_from(Level), st.just(Kind.REGRESSION)),
)


@given(
    st.integers(1, 5120),
    st.integers(1, 4096),
    st.lists(tasks, max_size=3, unique_by=lambda task: task.name),
)
def test_the_encoders_configuration_gives_the_contract_back(hidden, limit, heads):
    endpoint = contract.encoder_endpoint(hidden, limit, heads, digest="ab" * 32)
    back = contract.from_pbtxt(contract.to_pbtxt(endpoint))
    assert back == endpoint
    assert back.max_residues == limit
    assert back.output("mean").dims == (hidden,)
    assert back.output("residues").dims == (-1, hidden)
    assert [task["name"] for task in json.loads(back.parameters["tasks"])] == [
        task.name for task in heads
    ]
    for task in heads:
        assert back.output(task.name).dims[-1] == (len(task.classes) or 1)


@given(tasks)
def test_a_tasks_configuration_gives_the_task_back(task):
    endpoint = contract.task_endpoint(task, 512)
    back = contract.from_pbtxt(contract.to_pbtxt(endpoint))
    assert back == endpoint
    assert back.task == task
    assert len(back.output("prediction").dims) == (1 if task.level == "sequence" else 2)


@pytest.mark.parametrize("name", ["mean", "esm2_embed", "", "a b", "../x", "1st", "a" * 65])
def test_names_that_could_not_be_endpoints_are_refused(name):
    with pytest.raises(ConfigError, match="cannot be the name of a task"):
        TaskInfo(name, Level.SEQUENCE, Kind.REGRESSION)


def test_what_is_no_configuration_is_refused():
    with pytest.raises(ConfigError, match="not a Triton model configuration"):
        contract.from_pbtxt("name: esm2 {")


def test_an_endpoint_of_somebody_else_has_no_limit():
    with pytest.raises(NotFoundError, match="'echo' is not an endpoint that bionemo-ext"):
        _ = contract.Endpoint("echo", (), ()).max_residues


@given(st.lists(names, min_size=1, max_size=64), st.data())
def test_positions_in_errors_become_names(records, data):
    position = data.draw(st.integers(0, len(records) - 1))
    called = contract.position_name(position, len(records))
    message = f"record {called!r} has 'J' at position 3"
    assert contract.with_names(message, records) == (
        f"record {records[position]!r} has 'J' at position 3"
    )
