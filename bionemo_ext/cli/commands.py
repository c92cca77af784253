"""The commands, each in a module of its own that imports what is heavy only when it runs."""

import typer

from bionemo_ext.cli.bulk import bulk
from bionemo_ext.cli.card import card
from bionemo_ext.cli.contacts import contacts
from bionemo_ext.cli.convert import convert
from bionemo_ext.cli.data import app as data
from bionemo_ext.cli.demo import demo
from bionemo_ext.cli.embed import embed
from bionemo_ext.cli.export import export
from bionemo_ext.cli.finetune import finetune
from bionemo_ext.cli.flip import app as flip
from bionemo_ext.cli.flip_benchmark import benchmark
from bionemo_ext.cli.fold import fold
from bionemo_ext.cli.gateway import gateway
from bionemo_ext.cli.launch import launch
from bionemo_ext.cli.plan import plan
from bionemo_ext.cli.predict import predict
from bionemo_ext.cli.pretrain import pretrain
from bionemo_ext.cli.proteingym import proteingym
from bionemo_ext.cli.scan import scan
from bionemo_ext.cli.score import score
from bionemo_ext.cli.serve import serve
from bionemo_ext.cli.study import study


def register(app: typer.Typer) -> None:
    """Add every command to ``app``."""
    app.add_typer(data, name="data")
    flip.command()(benchmark)
    app.add_typer(flip, name="flip")
    app.command()(pretrain)
    app.command()(plan)
    app.command()(launch)
    app.command()(finetune)
    app.command()(export)
    app.command()(convert)
    app.command()(card)
    app.command()(serve)
    app.command()(gateway)
    app.command()(embed)
    app.command()(bulk)
    app.command()(predict)
    app.command()(scan)
    app.command()(score)
    app.command()(contacts)
    app.command()(fold)
    app.command()(proteingym)
    app.command()(study)
    app.command()(demo)
