"""The configuration that the server reads says what the contract says, both ways."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext import contract
from bionemo_ext.contract import EncoderFacts, Kind, Level, TaskInfo
from bionemo_ext.contract.task import _RESERVED
from bionemo_ext.errors import ConfigError, NotFoundError
from bionemo_ext.sequences import ESM1NV, ESM2

names = st.from_regex(r"[a-z][a-z0-9_]{3,20}", fullmatch=True).filter(
    lambda name: name not in _RESERVED
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
    facts = EncoderFacts(hidden, 6, limit, digest="ab" * 32)
    endpoint = contract.encoder_endpoint(facts, heads)
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


@given(
    st.integers(1, 4096), st.sampled_from([ESM2, ESM1NV]), st.integers(1, 8), st.integers(0, 10**6)
)
def test_thin_endpoints_and_their_limits_come_back(limit, alphabet, size, patience):
    facts = EncoderFacts(64, 6, limit, alphabet.name, alphabet.tokens, alphabet is ESM2)
    for describe in (
        contract.logits_endpoint,
        contract.contacts_endpoint,
        contract.mutation_effect_endpoint,
    ):
        endpoint = replace(
            describe(facts, model="other"),
            max_batch_size=size,
            instances=size,
            queue=contract.QueuePolicy(size, patience / 1000),
        )
        back = contract.from_pbtxt(contract.to_pbtxt(endpoint))
        assert back == endpoint
        assert back.name.startswith("other_")
        assert back.host == "other_embed"
        assert back.max_residues == limit
    assert json.loads(contract.logits_endpoint(facts).parameters["tokens"]) == list(alphabet.tokens)


def test_only_an_endpoint_with_one_output_may_be_cached():
    # Triton looks an answer up by the inputs alone, whatever outputs a request wants.
    outputs = contract.encoder_endpoint(EncoderFacts()).outputs
    with pytest.raises(ValueError, match="several outputs"):
        contract.Endpoint("a", (), outputs, cached=True)
    assert contract.logits_endpoint(EncoderFacts()).cached


@pytest.mark.parametrize("name", ["", "8m", "a b", "../x", "a" * 49])
def test_names_that_could_not_be_a_models_are_refused(name):
    with pytest.raises(ConfigError, match="cannot be the name of a model"):
        contract.check_model_name(name)


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
