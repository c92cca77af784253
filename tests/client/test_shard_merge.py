"""Shards become one file if they are all of one job, and of the input that is there."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from bionemo_ext.client import Result
from bionemo_ext.client.files.embedding_parquet import write_embedding_shard
from bionemo_ext.client.files.embeddings import write_embeddings
from bionemo_ext.client.jobs.merge import check_input, merge_shards, read_shards
from bionemo_ext.client.jobs.shards import Shard, ShardFolder
from bionemo_ext.errors import InputError, RunError, SequenceError
from bionemo_ext.sequences import read_fasta
from bionemo_ext.sequences.shards import range_digests, split_fasta

JOB = {"model": "abc", "limit": "1022"}
HIDDEN = 4


def result(record, residues=False):
    rng = np.random.default_rng(len(record.sequence))
    used = record.sequence[:60]
    values = {"mean": rng.normal(size=HIDDEN).astype(np.float32)}
    if residues:
        values["residues"] = rng.normal(size=(len(used), HIDDEN)).astype(np.float32)
    return Result(record.name, used, len(record.sequence), 1 + len(used) % 2, values)


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "x.fasta"
    path.write_text("".join(f">p{i}\n{'MKTVRQG' * (1 + i % 13)}\n" for i in range(700)))
    return path


def compute(folder, fasta, residues=False, job=JOB):
    """Leave shards as workers do."""
    folder.path.mkdir(exist_ok=True)
    parts = split_fasta(fasta, folder.count)
    for index, (part, digest) in enumerate(zip(parts, range_digests(parts), strict=True)):
        with part.open() as stream:
            results = [result(r, residues) for r in read_fasta(stream, may_be_empty=True)]
        shard = Shard(index, part.start, part.end, part.size, digest, len(results), 0, job)
        write_embedding_shard(
            folder.shard(index), results, "mean", HIDDEN, residues, shard.metadata()
        )


@pytest.fixture
def folder(fasta, tmp_path):
    made = ShardFolder(tmp_path / "x.parquet", 5)
    compute(made, fasta)
    return made


def merge(folder, skip_bad=False):
    return merge_shards(folder, read_shards(folder), skip_bad, lambda rows: None)


def rewrite(folder, index, **changed):
    """Change what a shard says of itself."""
    path = folder.shard(index)
    table = pq.read_table(path)
    shard = replace(Shard.read(path), **changed)
    metadata = {"pooling": "mean", **shard.metadata()}
    pq.write_table(table.replace_schema_metadata(metadata), path)


@pytest.mark.parametrize("residues", [False, True])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_the_merge_is_what_one_process_writes(fasta, tmp_path, count, residues):
    folder = ShardFolder(tmp_path / "x.parquet", count)
    compute(folder, fasta, residues)
    merged = merge(folder)
    alone = tmp_path / "alone.parquet"
    results = [result(record, residues) for record in read_fasta(fasta)]
    write_embeddings(alone, results, "mean")
    table, expected = pq.read_table(folder.out), pq.read_table(alone)
    assert table.equals(expected)
    assert table.schema.metadata[b"pooling"] == b"mean"
    assert json.loads(table.schema.metadata[b"job"]) == JOB
    pd.testing.assert_frame_equal(pd.read_parquet(folder.out), pd.read_parquet(alone))
    assert (merged.records, merged.files, merged.skipped) == (700, [folder.out], 0)
    assert merged.residues == sum(len(one.sequence) for one in results)
    assert merged.truncated == sum(one.truncated for one in results) > 0
    assert merged.windowed == sum(one.windows > 1 for one in results) > 0


def test_row_groups_are_few_and_memory_is_bounded_by_them(fasta, tmp_path, monkeypatch):
    from bionemo_ext.client.jobs import merge as module

    folder = ShardFolder(tmp_path / "x.parquet", 7)
    compute(folder, fasta)
    merge(folder)
    assert pq.ParquetFile(folder.out).num_row_groups == 1
    monkeypatch.setattr(module, "_GROUP_BYTES", 5_000)
    merge(folder)
    file = pq.ParquetFile(folder.out)
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sum(sizes) == 700
    assert max(sizes) < 300


def test_shards_that_are_missing_are_named(folder):
    for index in (0, 2, 3):
        folder.shard(index).unlink()
    # A shard whose parts are there is not finished.
    folder.shard(4).with_name(f".{folder.shard(4).name}.parts").mkdir()
    with pytest.raises(RunError, match=r"4 of 5 shards are missing in .*: 0, 2-4; ") as caught:
        merge(folder)
    assert caught.value.exit_code == 1
    assert not folder.out.exists()


WRONG = {
    "another model": ({"job": {**JOB, "model": "xyz"}}, InputError, "shards 0 and 2 .* in model"),
    "another file": ({"size": 5}, InputError, "shards 0 and 2 .* in the size of the FASTA"),
    "a gap": ({"start": 99_999}, InputError, "shard 2 of .* begins at byte 99,999"),
    "an overlap": ({"end": 99_999}, InputError, "the one before it ends at 99,999"),
    "rows lost": ({"records": 5}, RunError, "damaged .it says 5 records and has 1"),
}


@pytest.mark.parametrize("what", WRONG)
def test_shards_that_do_not_fit_are_refused(folder, what):
    changed, kind, sentence = WRONG[what]
    rewrite(folder, 2, **changed)
    with pytest.raises(kind, match=sentence) as caught:
        merge(folder)
    assert len(str(caught.value).splitlines()) == 1
    assert not folder.out.exists()


@pytest.mark.parametrize("damage", ["cut", "text", "another parquet"])
def test_a_damaged_shard_is_named(folder, damage):
    path = folder.shard(3)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "text":
        path.write_text("MKTVRQG")
    else:
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    with pytest.raises(RunError, match=rf"{path.name} is damaged .*removed, the same command"):
        merge(folder)


def test_rows_that_are_damaged_are_found_while_merging(folder):
    path = folder.shard(3)
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)
    with pytest.raises(RunError, match=rf"{path.name} is damaged"):
        merge(folder)
    assert not folder.out.exists()
    assert not (folder.path / folder.out.name).exists()


def test_a_fasta_that_was_changed_is_found(folder, fasta):
    shards = read_shards(folder)
    check_input(folder, shards, fasta, lambda count: None)
    text = fasta.read_text()
    middle = text.index("V", len(text) // 2)
    fasta.write_text(f"{text[:middle]}I{text[middle + 1 :]}")
    with pytest.raises(InputError, match=r"shard 2 in .* was computed of another .*x\.fasta"):
        check_input(folder, shards, fasta, lambda count: None)
    for other in (text[:-5], text + ">more\nMK\n"):
        fasta.write_text(other)
        with pytest.raises(InputError, match=rf"and .*x\.fasta has {len(other):,}: --restart"):
            check_input(folder, shards, fasta, lambda count: None)


def test_a_name_of_two_shards_is_refused_or_left_out(fasta, tmp_path):
    text = fasta.read_text().replace(">p600\n", ">p3\n")
    fasta.write_text(text)
    folder = ShardFolder(tmp_path / "x.parquet", 5)
    compute(folder, fasta)
    with pytest.raises(InputError, match=r"the name 'p3' stands in shard 0 and again in shard 4"):
        merge(folder)
    assert not folder.out.exists()
    merged = merge(folder, skip_bad=True)
    names = pq.read_table(folder.out)["name"].to_pylist()
    assert names == [f"p{i}" for i in range(700) if i != 600]
    assert (merged.records, merged.skipped) == (699, 1)
    rows = (tmp_path / "x.skipped.tsv").read_text().splitlines()
    assert rows == ["name\treason", "p3\tthe name stands twice, the first time in an earlier shard"]


def test_what_shards_left_out_is_in_one_list(folder):
    for index in (1, 3):
        folder.skipped(index).write_text(f"name\treason\nbad{index}\twhy not\n")
        rewrite(folder, index, skipped=1)
    merged = merge(folder)
    assert merged.skipped == 2
    assert merged.files == [folder.out, folder.out.with_suffix(".skipped.tsv")]
    rows = merged.files[1].read_text().splitlines()
    assert rows == ["name\treason", "bad1\twhy not", "bad3\twhy not"]


def test_a_merge_without_a_record_writes_nothing(fasta, tmp_path):
    fasta.write_text("\n\n")
    folder = ShardFolder(tmp_path / "x.parquet", 2)
    compute(folder, fasta)
    with pytest.raises(SequenceError, match="no records that can be used"):
        merge(folder)
    assert not folder.out.exists()


def test_a_merge_that_fails_leaves_what_was_there(folder):
    folder.out.write_text("of before")
    rewrite(folder, 2, records=5)
    with pytest.raises(RunError):
        merge(folder)
    assert folder.out.read_text() == "of before"


def test_a_folder_belongs_to_one_job(folder):
    shard = Shard.read(folder.shard(0))
    folder.claim(shard)
    folder.claim(shard)
    for other in (replace(shard, job={**JOB, "model": "xyz"}), replace(shard, size=7)):
        with pytest.raises(InputError, match=r"has the shards of another job .*, now ") as caught:
            folder.claim(other)
        assert caught.value.exit_code == 2
    folder.check({"limit": "1022"})
    with pytest.raises(InputError, match=r"limit 1022, now 5"):
        folder.check({"limit": "5"})
    folder.check_shard(shard)
    with pytest.raises(InputError, match="is of another input or job"):
        folder.check_shard(replace(shard, digest="other"))


def test_a_job_is_one_process_s_and_leaves_no_empty_folder(tmp_path):
    folder = ShardFolder(tmp_path / "x.parquet", 2)
    with folder.held():
        assert folder.path.is_dir()
        with (
            pytest.raises(InputError, match=r"another process is writing .*x\.parquet"),
            folder.held(),
        ):
            pass
    assert not folder.path.exists()


def test_clearing_takes_what_is_the_job_s(folder, fasta):
    folder.claim(Shard.read(folder.shard(0)))
    kept = folder.path / "notes.txt"
    kept.write_text("mine")
    with folder.held():
        folder.clear()
    assert sorted(path.name for path in folder.path.iterdir()) == ["lock", "notes.txt"]


def test_counting_what_is_kept(folder, fasta, tmp_path):
    names = len(list(islice(read_fasta(fasta), 700)))
    assert sum(map(folder.kept, range(5))) == names
    assert ShardFolder(tmp_path / "y.parquet", 5).kept(3) == 0
