"""Guards Hydra's composition: nothing is imported, started or written because a file names it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from nngeom_cli.launch.composing import files_read_once
from nngeom_cli.launch.forbidden import (
    is_about_hydra,
    refuse_foreign_code,
    refuse_foreign_section,
    refuse_foreign_words,
)
from nngeom_cli.launch.hydra_patches import LOAD, SEARCH_PATH

__all__ = ["harmless_configs"]

FOLDER = "command-line"  # Hydra's name for what --config-dir adds


@contextmanager
def harmless_configs() -> Iterator[None]:
    """Inside the block, each config that Hydra composes is checked before Hydra acts on it.

    Raises:
        ConfigError: inside the block, if a config would make Hydra start, load or write what is not nngeom's.
    """
    compose = LOAD.now()
    own_sections: dict[tuple[str, ...], Any] = {}

    def own_section(loader: ConfigLoader, config_name: str | None, words: Sequence[str]) -> Any:
        """Hydra's section without the user's folder of configs, composed once for all jobs of a sweep."""
        if tuple(words) not in own_sections:
            path = deepcopy(loader.get_search_path())
            path.get_path()[:] = [source for source in path.get_path() if source.provider != FOLDER]
            loader_of: Any = type(loader)
            config = compose(loader_of(path), config_name, list(words), RunMode.RUN)
            own_sections[tuple(words)] = OmegaConf.to_container(config.hydra, resolve=False)
        return own_sections[tuple(words)]

    def load(
        loader: ConfigLoader, config_name: str | None, overrides: list[str], *rest: Any, **options: Any
    ) -> DictConfig:
        refuse_foreign_words(overrides)
        config: DictConfig = compose(loader, config_name, overrides, *rest, **options)
        refuse_foreign_code(config)
        if any(source.provider == FOLDER for source in loader.get_search_path().get_path()):
            words = [word for word in overrides if is_about_hydra(word)]
            own = own_section(loader, config_name, words)
            typed = {"hydra": words, "task": [word for word in overrides if not is_about_hydra(word)]}
            section = OmegaConf.to_container(config.hydra, resolve=False)
            refuse_foreign_section(section, own | {"overrides": typed})
        return config

    with ExitStack() as stack:
        stack.enter_context(files_read_once())
        stack.enter_context(LOAD.replaced(load))
        stack.enter_context(SEARCH_PATH.replaced(lambda *_: None))
        yield
