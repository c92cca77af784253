"""FLIP's tasks with any number of encoders, and with predictors that need none."""

from bionemo_ext.recipes.flip_benchmark.run import Benchmark, Report, run_benchmark

__all__ = ["Benchmark", "Report", "run_benchmark"]
