from bionemo_ext.tasks.published import published


def test_rows_of_a_task():
    rows = published("gb1")
    assert [row.model for row in rows][:2] == ["one-hot", "ESM-1nv 44M"]
    assert {(row.split, row.metric) for row in rows} == {("two_vs_rest", "mse")}
    assert published("secondary_structure")[2].value == 0.855
    assert published("scl")[-1].value == 0.839
    assert published("bind") == []
