"""Tokens and certificates as commands are given them."""

import pytest

from bionemo_ext.client.options import TOKEN_VARIABLE, access_words
from bionemo_ext.errors import InputError


def test_a_token_comes_from_its_file_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert access_words() == {"tls": None, "token": None}
    monkeypatch.setenv(TOKEN_VARIABLE, "of-the-environment")
    assert access_words()["token"] == "of-the-environment"  # noqa: S105 (of nothing)
    file = tmp_path / "token"
    file.write_text("  of-the-file\n")
    assert access_words(token_file=file)["token"] == "of-the-file"  # noqa: S105


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "token cannot be read: No such file or directory"),
        (b"", "must have a token and nothing else, and has 0 words"),
        (b"one two", "must have a token and nothing else, and has 2 words"),
        (b"\xff\xfe", "token cannot be read: it is not text"),
    ],
)
def test_a_file_without_a_token(tmp_path, content, told):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        access_words(token_file=file)
    assert told in str(caught.value)


def test_certificates_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match=r"none\.pem cannot be read"):
        access_words(tls_ca=tmp_path / "none.pem")
    with pytest.raises(InputError, match="key is there, cert is not"):
        access_words(tls_key=tmp_path / "me.key")
