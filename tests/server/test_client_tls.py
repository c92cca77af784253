"""TLS, tokens and keys, right and wrong; and servers that speak another protocol."""

import asyncio
import contextlib
import ssl
import subprocess
import sys
import threading

import pytest
from certificates import certificate
from kept_servers import kept
from operating import echo_repository, free_ports

from bionemo_ext.client import Client, Tls
from bionemo_ext.errors import InputError, RequestError, ServerError, UnavailableError
from bionemo_ext.serving import LocalServer, Policy
from bionemo_ext.serving import Tls as ServerTls

pytestmark = pytest.mark.server

KEY = "a-key-of-the-tests"
TOKEN = "secret"  # noqa: S105 (of nothing)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Certificates by name: PEM and key."""
    folder = tmp_path_factory.mktemp("certificates")
    *root, signer = certificate(folder, "root")
    *other, stranger = certificate(folder, "other")
    return {
        "root": root,
        "other": other,
        "server": certificate(folder, "server", signer)[:2],
        "me": certificate(folder, "me", signer)[:2],
        "stranger": certificate(folder, "stranger", stranger)[:2],
    }


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return echo_repository(tmp_path_factory.mktemp("echo"))


@pytest.fixture(scope="module")
def plain(repository):
    with kept(LocalServer(repository)) as running:
        yield running


@pytest.fixture(scope="module")
def encrypted(repository, made):
    """A server with TLS, whose HTTP wants the key."""
    policy = Policy(tls=ServerTls(*made["server"]), admin_key=KEY)
    with kept(LocalServer(repository, policy=policy)) as running:
        yield running


@pytest.fixture(scope="module")
def mutual(repository, made):
    """A server that asks for the client's certificate."""
    policy = Policy(tls=ServerTls(*made["server"], made["root"][0]))
    with kept(LocalServer(repository, policy=policy)) as running:
        yield running


def say(client):
    return client.infer("echo", ["hello"], ["out"])["out"].tolist() == [[b"hello"]]


def works(url, **words):
    with Client(url, **words) as client:
        return say(client) and client.ready()


def sentence(kind, url, ask=say, **words):
    """What is told in the end, which is one line and names the address."""
    with Client(url, **words) as client, pytest.raises(kind) as caught:
        ask(client)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_tls(encrypted, made):
    port = encrypted.ports["grpc"]
    root = made["root"][0]
    assert works(f"grpcs://localhost:{port}", tls=Tls(root))
    assert works(f"grpcs://127.0.0.1:{port}", tls=Tls(root, server_name="localhost"))
    told = sentence(UnavailableError, f"grpcs://127.0.0.1:{port}", tls=Tls(root))
    assert told == (
        f"no answer from grpcs://127.0.0.1:{port}: its certificate is for another name than that "
        "of the address"
    )
    for tls in (Tls(made["other"][0]), None):
        told = sentence(UnavailableError, f"grpcs://localhost:{port}", tls=tls)
        assert told.startswith(f"no answer from grpcs://localhost:{port}: its certificate is not ")
        assert told.endswith("signed by an authority that this client believes")


@contextlib.contextmanager
def https_before(port, cert, key):
    """What ends TLS before a server's HTTP, as an ingress does; gives the port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    loop = asyncio.new_event_loop()

    async def pipe(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def both(reader, writer):
        to, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pipe(reader, back), pipe(to, writer))

    serving = loop.run_until_complete(asyncio.start_server(both, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield serving.sockets[0].getsockname()[1]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def test_https(plain, made):
    with https_before(plain.ports["http"], *made["server"]) as port:
        assert works(f"https://localhost:{port}", tls=Tls(made["root"][0]), token=TOKEN)
        told = sentence(UnavailableError, f"https://127.0.0.1:{port}", tls=Tls(made["root"][0]))
        assert told.endswith("its certificate is for another name than that of the address")
        told = sentence(UnavailableError, f"https://localhost:{port}", tls=Tls(made["other"][0]))
        assert told.endswith("signed by an authority that this client believes")
        told = sentence(UnavailableError, f"http://localhost:{port}")
        assert told.endswith("it may speak TLS (https://) or another protocol than http")


def test_a_certificate_of_the_client(mutual, made):
    url, root = f"grpcs://localhost:{mutual.ports['grpc']}", made["root"][0]
    assert works(url, tls=Tls(root, *made["me"]))
    told = sentence(UnavailableError, url, tls=Tls(root))
    assert told.endswith("it may ask for a certificate of the client, or not speak TLS")
    told = sentence(UnavailableError, url, tls=Tls(root, *made["stranger"]))
    assert told.endswith("it may not believe the client's certificate, or not speak TLS")


def test_another_protocol_than_the_address_says(encrypted, plain, made):
    tls = Tls(made["root"][0])
    grpc, http, metrics = (plain.ports[name] for name in ("grpc", "http", "metrics"))
    told = sentence(UnavailableError, f"grpcs://localhost:{grpc}", tls=tls)
    assert told.endswith("it does not speak TLS")
    told = sentence(UnavailableError, f"grpc://localhost:{encrypted.ports['grpc']}")
    assert told.endswith("it may speak TLS (grpcs://) or another protocol than grpc")
    told = sentence(UnavailableError, f"grpc://localhost:{http}")
    assert told.endswith("it may speak TLS (grpcs://) or another protocol than grpc")
    told = sentence(UnavailableError, f"http://localhost:{grpc}")
    assert told.endswith("it does not speak HTTP")
    told = sentence(UnavailableError, f"http://localhost:{encrypted.ports['grpc']}")
    assert told.endswith("it may speak TLS (https://) or another protocol than http")
    told = sentence(ServerError, f"http://localhost:{metrics}", ask=Client.limit)
    assert told.endswith("what answers there is no Triton server")


def test_keys(encrypted):
    url = f"http://127.0.0.1:{encrypted.ports['http']}"
    assert works(url, headers={"Admin-Key": KEY})
    for headers in (None, {"admin-key": KEY[:-1]}):
        told = sentence(RequestError, url, headers=headers)
        assert told.endswith("This API is restricted, expecting header 'admin-key'")


def test_a_token_crosses_no_network_in_plain_text(plain):
    assert works(plain.url, token=TOKEN)  # this machine; Triton itself asks for none
    refused = r"a token would cross the network in plain text to grpc://gpu\.lab:8001: use grpcs://"
    with pytest.raises(InputError, match=refused):
        Client("grpc://gpu.lab:8001", token=TOKEN)
    with pytest.raises(InputError, match="in plain text to http://10"):
        Client(f"{plain.url},http://10.0.0.1:8000", token=TOKEN)
    for words in ({"insecure_token": True}, {}):
        scheme = "grpc" if words else "grpcs"
        Client(f"{scheme}://gpu.lab:8001", token=TOKEN, **words).close()


def test_files_and_words_that_cannot_be_used(made, tmp_path):
    empty = tmp_path / "empty.pem"
    empty.touch()
    root, (mine, my_key) = made["root"][0], made["me"]
    for files, told in (
        ((tmp_path / "none.pem",), "none.pem cannot be read: No such file or directory"),
        ((empty,), "empty.pem is not a PEM file"),
        ((root, mine), "needs both files: cert is there, key is not"),
        ((root, mine, made["server"][1]), "cannot be used: KEY_VALUES_MISMATCH"),
    ):
        with pytest.raises(InputError, match=told):
            Tls(*files)
    tls = Tls(root, mine, my_key)
    with pytest.raises(InputError, match=r"grpc://h:1 is not: grpcs://h:1 would be"):
        Client("grpc://h:1", tls=tls)
    with pytest.raises(InputError, match="server_name is for grpcs:// addresses"):
        Client("https://localhost:1", tls=Tls(root, server_name="x"))
    for words in ({"token": "two\nlines"}, {"headers": {"a b": "x"}}, {"headers": {"a": "é"}}):
        with pytest.raises(InputError, match="cannot be"):
            Client("grpc://127.0.0.1:1", **words)
    assert TOKEN not in repr(Client("grpc://127.0.0.1:1", token=TOKEN)._client.__dict__)


def test_standard_error_has_nothing_of_grpcs_own(encrypted, made):
    code = f"""
from bionemo_ext.client import Client, Tls
from bionemo_ext.errors import UnavailableError
tls = Tls({str(made["other"][0])!r})
try:
    Client("grpcs://localhost:{encrypted.ports["grpc"]}", tls=tls).models()
except UnavailableError:
    print("told")
try:
    Client("grpc://127.0.0.1:{free_ports(1)[0]}").models()
except UnavailableError:
    print("told")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "told\ntold\n", "")
