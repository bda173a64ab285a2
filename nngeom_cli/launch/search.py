"""hydra/sweeper=optuna: runs whose settings optuna chooses, each from the results of those before it.

A search is a sweep that grows: before a batch of jobs starts, sweep.json and optuna's study, optuna.db in the sweep's
folder, have them. An objective is read from the run on disk, so that any launcher will do and a run that is resumed
counts like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from nngeom_cli.analysis.columns import BEST, MEANINGS
from nngeom_cli.analysis.run_rows import read_row
from nngeom_cli.errors import ConfigError, did_you_mean, require, say
from nngeom_cli.launch.checks import checked_jobs, refuse_no_values
from nngeom_cli.launch.folder_names import folder_names
from nngeom_cli.launch.launchers import launched
from nngeom_cli.quoting import quoted
from nngeom_cli.store.run_info import FINISHED
from nngeom_cli.store.sweep import Job, Outcome, Sweep
from nngeom_cli.system.parallel import available_cores
from nngeom_cli.system.surroundings import replaced

__all__ = ["STUDY", "Search", "search", "searching", "settings_of"]

STUDY, NAME = "optuna.db", "nngeom"
DIRECTIONS = ("maximize", "minimize")
MOST_TRIALS, DIVERGED = 100_000, "diverged"
INSIDE = 1e-6  # of an interval


class Search(Sweeper):
    """Hydra's sweeper for it; the keys are those of conf/hydra/sweeper/optuna.yaml."""

    run: Any = None  # `searching` puts a function here
    hydra_context: Any
    launcher: Any

    def __init__(
        self,
        objective: str | None,
        direction: str | None,
        n_trials: int,
        seed: int,
        max_batch_size: int | None,
        params: dict[str, str] | None,
    ) -> None:
        self.objective, self.direction, self.n_trials, self.seed = objective, direction, n_trials, seed
        self.max_batch_size, self.params = max_batch_size, params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what Hydra hands over, and makes the launcher."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Searches; called by Hydra."""
        type(self).run(self, arguments)


@contextmanager
def searching(run: Callable[[Search, list[str]], None]) -> Iterator[None]:
    """Inside the block Hydra knows the sweeper, and calls `run` with it and the words of the command."""
    with replaced(Search, "run", run):
        Plugins.instance().class_name_to_class["hydra_plugins.nngeom.Search"] = Search
        yield


def settings_of(sweeper: Search, arguments: Sequence[str]) -> dict[str, Any]:
    """What a search is, for sweep.json: enough to resume it.

    Raises:
        ConfigError: the objective or another setting is wrong, or nothing varies.
    """
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise ConfigError(
            "`hydra/sweeper` must be a sweeper that is installed. Got optuna. `pip install 'nngeom[optuna]'` adds it."
        ) from None
    name, direction, trials = sweeper.objective, sweeper.direction, sweeper.n_trials
    base = (name or "").partition(".")[0]
    suggestion = did_you_mean(base, [*MEANINGS]) or "`nngeom summarize --columns help` lists them."
    require(base in MEANINGS, "objective", "a score or a statistic", name or "nothing", suggestion)
    if direction is None and name in BEST:
        direction = "minimize" if BEST[name] is min else "maximize"
    better = f"maximize or minimize for {name}"
    suggestion = "hydra.sweeper.direction=maximize looks for the largest."
    require(direction in DIRECTIONS, "hydra.sweeper.direction", better, direction or "nothing", suggestion)
    sound = type(trials) is int and 0 < trials <= MOST_TRIALS
    require(sound, "hydra.sweeper.n_trials", f"between 1 and {MOST_TRIALS}", trials, "20 is the default.")
    sound = type(sweeper.seed) is int and 0 <= sweeper.seed < 2**32
    require(sound, "hydra.sweeper.seed", "between 0 and 4294967295", sweeper.seed, "0 is the default.")
    parse = OverridesParser.create(config_loader=sweeper.hydra_context.config_loader).parse_overrides
    own = " and ".join(sweeper.params)
    suggestion = "Search its keys without the experiment."
    require(not own, "experiment", "left out with hydra/sweeper=optuna where it is a sweep of its own", own, suggestion)
    overrides = parse([*arguments])
    varied = [override for override in overrides if override.is_sweep_override()]
    suggestion = "For example 'optimizer.lr=tag(log,interval(0.001,1))', or optimizer.lr=0.1,0.2."
    require(bool(varied), "hydra/sweeper=optuna", "given a key that varies", "none", suggestion)
    _check_values(sweeper, overrides)
    return {
        "words": [*arguments],
        "objective": name,
        "direction": direction,
        "trials": trials,
        "seed": sweeper.seed,
    }


def search(sweeper: Search, sweep: Sweep) -> list[Outcome]:
    """Runs what is left of a search.

    Args:
        sweeper: Hydra's, with the launcher.
        sweep: the jobs so far; its `search` says what is looked for.

    Returns:
        How each job ended.

    Raises:
        ConfigError: a job's config is wrong, or its run has no such metric.
        KeyboardInterrupt: on SIGINT or SIGTERM, when no process is left.
    """
    import optuna

    about = sweep.search
    assert about is not None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{sweep.directory.absolute() / STUDY}",
        study_name=NAME,
        direction=about["direction"],
        sampler=optuna.samplers.TPESampler(seed=about["seed"] + len(sweep.jobs)),
        load_if_exists=True,
    )
    overrides = OverridesParser.create(config_loader=sweeper.hydra_context.config_loader).parse_overrides(
        about["words"]
    )
    space = {each.get_key_element(): _distribution(each) for each in overrides if each.is_sweep_override()}
    fixed = [str(each.input_line) for each in overrides if not each.is_sweep_override()]
    outcomes = [sweep.outcome(job) for job in sweep.jobs]
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):  # of a search that was interrupted
        _tell(study, trial.number, sweep, about["objective"])
    while len(study.trials) < about["trials"]:
        count = min(_at_once(sweeper), about["trials"] - len(study.trials))
        trials = [study.ask(space) for _ in range(count)]
        jobs = []
        for asked in trials:
            typed = [*fixed, *(f"{key}={value}" for key, value in asked.params.items())]
            jobs.append(_job(sweeper, typed, _folder(asked.number, asked.params)))
            asked.set_user_attr("directory", jobs[-1].directory)
        before = len(sweep.jobs)
        sweep = replace(sweep, jobs=[*sweep.jobs, *jobs])
        sweep.write()
        outcomes = _run_batch(sweeper, sweep, before)
        for asked in trials:
            _tell(study, asked.number, sweep, about["objective"])
    done = [trial for trial in study.trials if trial.state is optuna.trial.TrialState.COMPLETE]
    if done:
        best = study.best_trial
        found = " ".join(f"{key}={value}" for key, value in best.params.items())
        say(f"Best {about['objective']} of {len(done)} runs: {best.value:.6g}, job {best.number}, with {found}")
    return [
        replace(each, error=None) if each.status == DIVERGED else each for each in outcomes
    ]  # found out, no failure


def _run_batch(sweeper: Search, sweep: Sweep, first: int) -> list[Outcome]:
    """Runs the jobs of a sweep from a place on; how each job of the sweep ended."""
    batch = [[*job.overrides, f"hydra.sweep.subdir={quoted(job.directory)}"] for job in sweep.jobs[first:]]
    launcher, launch = sweeper.launcher, sweeper.launcher.launch
    with replaced(launcher, "launch", launch), replaced(launcher, "hydra_context", launcher.hydra_context):
        return launched(sweeper, sweep, sweep.jobs, lambda: launcher.launch(batch, initial_job_idx=first))


def _distribution(override: Override) -> Any:
    """The values that a key may have, as optuna names them."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    key = override.get_key_element()
    values = override.value()
    if isinstance(values, IntervalSweep):
        low, high, log = values.start, values.end, "log" in values.tags
        assert low is not None
        assert high is not None
        shown = str(override.input_line).partition("=")[2]
        sound = math.isfinite(low) and math.isfinite(high) and low <= high and (low > 0 or not log)
        require(sound, key, "an interval from a lower to a higher number, above 0 for log", shown, "interval(0.01,1)")
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(low, high, log=log)
    refuse_no_values(override)
    return CategoricalDistribution([*override.sweep_string_iterator()])


def _check_values(sweeper: Search, overrides: Sequence[Override]) -> None:
    """Refuses keys and values that no trial could have: the ends of each interval are checked, and each choice.

    Raises:
        ConfigError: (or an error of Hydra about a key) one is wrong.
    """
    fixed = [str(each.input_line) for each in overrides if not each.is_sweep_override()]
    values = {each.get_key_element(): _typical(_distribution(each)) for each in overrides if each.is_sweep_override()}
    first = {key: several[0] for key, several in values.items()}
    changes = [{}, *({key: value} for key, several in values.items() for value in several[1:])]
    for change in changes:
        _job(sweeper, [*fixed, *(f"{key}={value}" for key, value in {**first, **change}.items())], "0")


def _typical(distribution: Any) -> list[Any]:
    """Each choice of a key, or the ends of its interval; of real numbers just inside, since 0 to 1 may mean (0, 1)."""
    if hasattr(distribution, "choices"):
        return list(distribution.choices)
    low, high = distribution.low, distribution.high
    inside = 0 if isinstance(low, int) else INSIDE * (high - low)
    return [low + inside, high - inside]


def _job(sweeper: Search, words: list[str], folder: str) -> Job:
    """The job of a trial, checked."""
    one = SimpleNamespace(
        config=sweeper.config,
        hydra_context=sweeper.hydra_context,
        launcher=sweeper.launcher,
        params=sweeper.params,
        max_batch_size=None,
        split_arguments=lambda overrides, _: [[[str(each.input_line) for each in overrides]]],
    )
    ((job,), _) = checked_jobs(one, [*words, f"hydra.sweep.subdir={quoted(folder)}"])
    return replace(job, overrides=words)


def _folder(number: int, params: dict[str, Any]) -> str:
    """The folder of a trial, named by its settings."""
    others = [f"{key}=" for key in params]  # a second job, so that every key varies
    name = folder_names([[f"{key}={_short(value)}" for key, value in params.items()], others])[0]
    return f"{number}{name[1:]}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _at_once(sweeper: Search) -> int:
    """Jobs of a batch: more at once are faster, but each is chosen with less known."""
    alone = type(sweeper.launcher).__name__ == "BasicLauncher"
    return sweeper.max_batch_size or (1 if alone else available_cores())


def _tell(study: Any, number: int, sweep: Sweep, objective: str) -> None:
    """Tells optuna how a trial ended. A run without a finite value counts as pruned, worse than any: the sampler leaves
    failed ones out of account, and would go on where runs diverge.

    Raises:
        ConfigError: its run has no such metric.
    """
    import optuna

    folder = study.trials[number].user_attrs.get("directory")
    jobs = {job.directory: job for job in sweep.jobs}
    value, state = math.nan, optuna.trial.TrialState.FAIL
    if folder in jobs and sweep.status(jobs[folder]) in FINISHED:
        state = optuna.trial.TrialState.PRUNED
        row = read_row(Path(sweep.directory / folder))
        if row.estimates and objective not in row.estimates:
            study.tell(number, state=optuna.trial.TrialState.FAIL)
            suggestion = (
                did_you_mean(objective, [*row.estimates]) or f"It has {', '.join(sorted(row.estimates)[:8])}, ..."
            )
            raise ConfigError(f"`objective` must be a metric of the runs. Got {objective}. {suggestion}")
        value = row.estimates[objective].value if row.estimates else math.nan
    if math.isfinite(value):
        study.tell(number, value)
    else:
        study.tell(number, state=state)
