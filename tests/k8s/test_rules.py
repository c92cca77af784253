"""Rules, alerts and the autoscaler's queries, by Prometheus' own tool on a busy server's series."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from rendering import COMBINATIONS, TOOLS, objects, one

LABELS = 'namespace="proteins",job="esm2",pod="a",model="esm2_embed"'
# A minute apart: each second 4 requests leave the queue, having waited 2.5 s, and 40 wait.
BUSY = {
    "bionemo_ext_queue_us_total": "0+600000000x30",
    "bionemo_ext_queued_requests_total": "0+240x30",
    "bionemo_ext_pending_requests": "40x30",
    "bionemo_ext_refused_requests_total": "0x10 1+1x20",
}
IDLE = {
    "bionemo_ext_queue_us_total": "7x30",
    "bionemo_ext_queued_requests_total": "7x30",
    "bionemo_ext_pending_requests": "0x30",
    "bionemo_ext_refused_requests_total": "0x30",
}
TRITON = {
    "nv_inference_queue_duration_us": "0x30",
    "nv_inference_request_success": "0+240x30",
    "nv_inference_pending_request_count": "0x30",
}


@pytest.fixture(scope="module")
def promtool():
    found = shutil.which("promtool") or TOOLS / "promtool"
    if not Path(found).is_file():
        pytest.skip(f"no promtool on the PATH and none in {TOOLS}; .ci/tools unpacks Debian's")

    def run(folder, *words):
        return subprocess.run(
            [found, *words], cwd=folder, capture_output=True, text=True, timeout=60
        )

    return run


@pytest.fixture(scope="module")
def rules():
    return one(objects(*COMBINATIONS["cpu"]), "PrometheusRule")["spec"]


def evaluate(promtool, folder, rules, series, expected, alerts=()):
    """Run the rules over series, and ask what queries and alerts then give, at 20 minutes."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    queries = [
        {"expr": query, "eval_time": "20m", "exp_samples": [{"labels": label, "value": value}]}
        for query, (label, value) in expected.items()
    ]
    test = {
        "interval": "1m",
        "input_series": [
            {"series": f"{name}{{{LABELS}}}", "values": v} for name, v in series.items()
        ],
        "promql_expr_test": queries,
        "alert_rule_test": list(alerts),
    }
    text = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    (folder / "test.yaml").write_text(yaml.safe_dump(text))
    return promtool(folder, "test", "rules", "test.yaml")


def recorded(name, value):
    return {name: (f'{name}{{namespace="proteins",pod="a"}}', value)}


def test_the_rules_are_rules(promtool, rules, tmp_path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    done = promtool(tmp_path, "check", "rules", "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("series", "seconds", "pending"), [(BUSY, 2.5, 40), (IDLE, 0, 0)], ids=["busy", "idle"]
)
def test_what_the_autoscaler_reads(promtool, rules, tmp_path, series, seconds, pending):
    expected = recorded("bionemo_ext_autoscaling_queue_seconds", seconds)
    expected |= recorded("bionemo_ext_autoscaling_pending_requests", pending)
    done = evaluate(promtool, tmp_path, rules, series | TRITON, expected)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = {name: (label, value + 1) for name, (label, value) in expected.items()}
    assert evaluate(promtool, tmp_path, rules, series | TRITON, wrong).returncode != 0


def test_keda_reads_the_same(promtool, rules, tmp_path):
    triggers = one(objects(*COMBINATIONS["object store and keda"]), "ScaledObject")["spec"]
    queries = [trigger["metadata"]["query"] for trigger in triggers["triggers"]]
    expected = dict(zip(queries, [("{}", 2.5), ("{}", 40)], strict=True))
    done = evaluate(promtool, tmp_path, rules, BUSY | TRITON, expected)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_autoscaler_s_thresholds_are_those_of_the_values():
    found = objects(*COMBINATIONS["hpa, opened, own resources"])
    metrics = one(found, "HorizontalPodAutoscaler")["spec"]["metrics"]
    asked = {m["pods"]["metric"]["name"]: m["pods"]["target"]["averageValue"] for m in metrics}
    assert asked == {
        "bionemo_ext_autoscaling_queue_seconds": "1000m",
        "bionemo_ext_autoscaling_pending_requests": "16",
    }
    recorded_names = {
        rule["record"]
        for group in one(found, "PrometheusRule")["spec"]["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    assert recorded_names == set(asked)


def alert(rule, fires):
    """What promtool expects of an alert at 20 minutes."""
    notes = rule["annotations"]
    assert set(notes) == {"summary", "description"}  # what is, and what to do
    summary = notes["summary"].replace("{{ $labels.pod }}", "a")
    told = {
        "exp_labels": {"namespace": "proteins", "pod": "a", **rule["labels"]},
        "exp_annotations": notes | {"summary": summary},
    }
    expected = [told] if fires else []
    return {"alertname": rule["alert"], "eval_time": "20m", "exp_alerts": expected}


@pytest.mark.parametrize(
    ("changed", "firing"),
    [
        ({}, {"BionemoExtRequestsRefused"}),
        ({"bionemo_ext_refused_requests_total": "0x30"}, set()),
        (
            {
                "bionemo_ext_refused_requests_total": "0x30",
                "nv_inference_exec_count": "0+1x15 0+1x15",
            },
            {"BionemoExtStartedAgain"},
        ),
    ],
    ids=["refused", "calm", "started again"],
)
def test_an_alert_fires_when_it_should_and_only_then(promtool, rules, tmp_path, changed, firing):
    named = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    alerts = [alert(rule, rule["alert"] in firing) for rule in named]
    done = evaluate(promtool, tmp_path, rules, BUSY | TRITON | changed, {}, alerts)
    assert done.returncode == 0, done.stdout + done.stderr
