"""Makes Hydra read and merge each config file once for many configs that differ in single keys.

Which files a config is made of depends only on what chooses groups (`task=xor`), and they are merged before single keys
(`seed=1`) are set. So the choice and the merged files are kept, and Hydra continues from a copy of them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig

from nngeom_cli.launch.hydra_patches import CHOOSE_FILES, MERGE_FILES, SINGLE_KEYS

__all__ = ["files_read_once"]


@contextmanager
def files_read_once() -> Iterator[None]:
    """Inside the block, Hydra reads and merges each config file once, however many configs it composes."""
    choose, merge, overrides_of = CHOOSE_FILES.now(), MERGE_FILES.now(), SINGLE_KEYS.now()
    chosen: dict[Any, Any] = {}
    merged: dict[Any, DictConfig] = {}

    def chosen_files(repo: Any, config_name: str | None, overrides_list: Sequence[Override], **options: bool) -> Any:
        single_keys = overrides_of(repo=repo, overrides_list=list(overrides_list)).config_overrides
        of_groups = [override for override in overrides_list if all(override is not single for single in single_keys)]
        words = tuple(override.input_line for override in of_groups)
        strict = options | {"skip_missing": False}  # the same wherever it is no error: Hydra asks for both in turn
        for asked in (strict, options):
            key = (_folders(repo), config_name, words, *sorted(asked.items()))
            try:
                if key not in chosen:
                    chosen[key] = choose(repo, config_name, of_groups, **asked)
                break
            except ConfigCompositionException:
                if asked == options:
                    raise
        return replace(chosen[key], config_overrides=single_keys)

    def merged_files(loader: ConfigLoader, defaults: Sequence[ResultDefault], repo: Any) -> DictConfig:
        key = (_folders(repo), *((file.config_path, file.package, file.primary) for file in defaults))
        if key not in merged:
            merged[key] = merge(loader, list(defaults), repo)
        return copy.deepcopy(merged[key])

    with (
        CHOOSE_FILES.replaced(chosen_files),
        MERGE_FILES.replaced(merged_files),
    ):
        yield


def _folders(repo: Any) -> tuple[tuple[str, str], ...]:
    """Where configs are looked for, in order."""
    return tuple((source.provider, source.path) for source in repo.get_sources())
