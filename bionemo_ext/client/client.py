"""The client: sequences in, arrays out."""

from collections.abc import Collection, Sequence
from typing import Literal, overload

from bionemo_ext.client.async_client import Array, Method
from bionemo_ext.client.results import Prediction, Structure
from bionemo_ext.client.session import Session
from bionemo_ext.client.streaming.stream import Progress, Sequences
from bionemo_ext.sequences import Record, SequencePolicy


class Client(Session):
    """Talks to the endpoints of one server, or of several that serve the same models.

    Safe to use from several threads, and inside a running event loop (a notebook): the work is
    that of an :class:`~bionemo_ext.client.AsyncClient` in a thread of its own.

    Parameters
    ----------
    url : str or iterable of str
        ``grpc://host:port``, ``grpcs://`` (TLS), ``http://`` or ``https://``; several replicas as a
        list or separated by commas. Nothing is sent before the first call.
    timeout_s : float
        How long one request may take, with all its attempts and its wait in the server's queue.
    in_flight : int
        Requests of one call that are under way at once.
    model : str
        Which of the server's models to ask; what the names of its endpoints begin with.
    retry : Retry, optional
        When a request is tried again; ``Retry.NONE`` gives up at once.
    tls : Tls, optional
        Certificates, where the system's authorities are not enough.
    token : str, optional
        Sent as ``authorization: Bearer ...``; in plain text to this machine only.
    headers : mapping of str to str, optional
        Further HTTP headers or gRPC metadata.
    insecure_token : bool
        Send the token in plain text to other machines too.
    connection : Connection, optional
        What answers in place of servers at ``url``, which is then a name only; for example a
        ``bionemo_ext.serving.local_connection.LocalConnection``, which computes in this process.

    Raises
    ------
    InputError
        If an address has another form, or a value cannot be used.

    Examples
    --------
    >>> with Client("grpc://127.0.0.1:8001") as client:  # doctest: +SKIP
    ...     vectors = client.embed(["MKTVRQG", "MALWMRLLPLL"])
    """

    @overload
    def embed(
        self,
        sequences: Sequences,
        pooling: Literal["mean", "cls", "max"] = "mean",
        *,
        layer: int | None = None,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> Array: ...

    @overload
    def embed(
        self,
        sequences: Sequences,
        pooling: Literal["residues"],
        *,
        layer: int | None = None,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Array]: ...

    def embed(
        self,
        sequences: Sequences,
        pooling: str = "mean",
        *,
        layer: int | None = None,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> Array | list[Array]:
        """Embed sequences.

        Parameters
        ----------
        sequences : str, Record, or iterable of them
            Proteins; records keep their names in errors, strings are called by position.
        pooling : {"mean", "cls", "max", "residues"}
            How residues become one vector: their mean or maximum (without ``<cls>`` and
            ``<eos>``), or the ``<cls>`` token; ``residues`` gives all of them.
        layer : int, optional
            The layer to embed with, counted as transformers counts ``hidden_states``: 0 is what the
            first layer sees, -1 the last. The last when not given.
        policy : SequencePolicy, optional
            What to do with unknown letters and with sequences beyond the model's limit.
        on_progress : callable, optional
            Called with the number of residues of each request that was answered, in a thread of the
            client.

        Returns
        -------
        NDArray [N, H], or for ``residues`` a list of NDArray [L, H]
            FP32, in the order of ``sequences``.

        Raises
        ------
        SequenceError
            If a sequence breaks the policy.
        ServerError, RequestError, NotFoundError
            If the server cannot be reached, fails or refuses.

        Warns
        -----
        TruncationWarning
            Once, with the number of sequences that were cut.
        """
        return self._thread.run(
            self._client.embed,
            here(sequences),
            pooling,
            layer=layer,
            policy=policy,
            on_progress=on_progress,
        )

    @overload
    def predict(
        self,
        sequences: Sequences,
        task: str,
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Prediction]: ...

    @overload
    def predict(
        self,
        sequences: Sequences,
        task: Collection[str],
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> dict[str, list[Prediction]]: ...

    def predict(
        self,
        sequences: Sequences,
        task: str | Collection[str],
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Prediction] | dict[str, list[Prediction]]:
        """Predict a task, or several with one pass of the encoder that they share.

        Parameters, errors and warnings are those of :meth:`embed`.

        Returns
        -------
        list of Prediction
            In the order of ``sequences``; of several tasks such a list by the name of each.
        """
        return self._thread.run(
            self._client.predict, here(sequences), task, policy=policy, on_progress=on_progress
        )

    def logits(
        self,
        sequences: Sequences,
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Array]:
        """Score every token of the alphabet at every residue.

        Parameters and errors are those of :meth:`embed`; residues may be masked, as in
        ``MKT<mask>RQG``, and a sequence beyond the limit is refused.

        Returns
        -------
        list of NDArray [L, V]
            FP32, not normalised; the endpoint's parameter ``tokens`` names the columns.
        """
        return self._thread.run(
            self._client.logits, here(sequences), policy=policy, on_progress=on_progress
        )

    def contacts(
        self,
        sequences: Sequences,
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Array]:
        """Predict which residues touch.

        Parameters and errors are those of :meth:`embed`; a sequence beyond the limit is refused.

        Returns
        -------
        list of NDArray [L, L]
            FP32 probabilities, symmetric.
        """
        return self._thread.run(
            self._client.contacts, here(sequences), policy=policy, on_progress=on_progress
        )

    def scan(
        self,
        sequences: Sequences,
        method: Method = "wildtype",
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Array]:
        """Predict the effect of every substitution, log p(mutant) - log p(wild type).

        Parameters and errors are those of :meth:`embed`; a sequence beyond the limit is refused.

        Parameters
        ----------
        sequences : str, Record, or iterable of them
            Proteins.
        method : {"wildtype", "masked"}
            From one pass over each sequence, or from one a residue in which it is masked.

        Returns
        -------
        list of NDArray [L, 20]
            FP32, columns ``ACDEFGHIKLMNPQRSTVWY``; 0 for the residue that is there.
        """
        return self._thread.run(
            self._client.scan, here(sequences), method, policy=policy, on_progress=on_progress
        )

    @overload
    def score(
        self,
        sequences: str | Record,
        mutants: Sequence[str],
        method: Method = "wildtype",
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> Array: ...

    @overload
    def score(
        self,
        sequences: Sequence[str | Record],
        mutants: Sequence[Sequence[str]],
        method: Method = "wildtype",
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Array]: ...

    def score(
        self,
        sequences: str | Record | Sequence[str | Record],
        mutants: Sequence[str] | Sequence[Sequence[str]],
        method: Method = "wildtype",
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> Array | list[Array]:
        """Predict the effects of given variants, log p(mutant) - log p(wild type).

        Errors are those of :meth:`embed`; a sequence beyond the limit is refused.

        Parameters
        ----------
        sequences : str or Record, or a sequence of them
            One protein, or several.
        mutants : sequence of str, or a sequence of such
            The variants of the protein, or of each of several: ``A24G``, or ``A24G:L30P`` where
            several residues change. Positions count from 1.
        method : {"wildtype", "masked"}
            As for :meth:`scan`; ``masked`` masks all sites of a variant together.
        policy, on_progress
            As for :meth:`embed`; a sequence counts once for each share of its variants.

        Returns
        -------
        NDArray [variants], or of several proteins a list of such
            FP32.
        """
        return self._thread.run(
            self._client.score, sequences, mutants, method, policy=policy, on_progress=on_progress
        )

    def fold(
        self,
        sequences: Sequences,
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Structure]:
        """Predict structures, where the server has ESMFold.

        Parameters and errors are those of :meth:`embed`; a sequence beyond the limit is refused.

        Returns
        -------
        list of Structure
            In the order of ``sequences``.
        """
        return self._thread.run(
            self._client.fold, here(sequences), policy=policy, on_progress=on_progress
        )


def here(sequences: Sequences) -> str | Record | list[str | Record]:
    """Read all sequences in the thread of the caller, whose iterator may belong to it."""
    return sequences if isinstance(sequences, str | Record) else list(sequences)
