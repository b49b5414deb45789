"""What can be fetched: where it is, at which revision, under which licence, and the checksums of its files."""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import quote

from comparisons.util.errors import CompareError, unknown

RAW_ENDPOINT = "COMPARE_RAW_ENDPOINT"
"""Environment: stands in for https://raw.githubusercontent.com, as HF_ENDPOINT does for the hub."""


@dataclass(frozen=True)
class Source:
    """A published set.

    Attributes:
        name: what it is fetched by.
        form: what is made of its files: "paper" (its layout, as they are), "evaluations" (cut into pairs and test
            questions), "four choices" (MMLU's own), or "two choices" (TruthfulQA's mc1 as A/B).
        title: what it is.
        licence: its identifier by SPDX, and whose it is.
        home: its page.
        host: "raw" for files of a GitHub repository, "hub" for a data set of the Hugging Face hub.
        repository: ORG/NAME there.
        revision: the pinned commit.
        selects: what `only` chooses, in the plural: "behaviors", "subjects".
        choose: whether something must be chosen, because the whole is large.
        note: what else is to be said, beside the data too.
    """

    name: str
    form: Literal["paper", "evaluations", "four choices", "two choices"]
    title: str
    licence: str
    home: str
    host: Literal["raw", "hub"]
    repository: str
    revision: str
    selects: str
    choose: bool = False
    note: str = ""

    @property
    def pins(self) -> Mapping[str, str]:
        """By path, "sha256:…", or "git:…" for the id that git gives the content; those of the pinned revision."""
        return _pins()[self.name]

    def url(self, path: str, revision: str) -> str:
        """Where a file is; raises CompareError where the environment names a host that is no address."""
        place = f"{quote(revision, safe='')}/{quote(path)}"
        if self.host == "raw":
            endpoint = _endpoint(RAW_ENDPOINT, "https://raw.githubusercontent.com")
            return f"{endpoint}/{self.repository}/{place}"
        return f"{_endpoint('HF_ENDPOINT', 'https://huggingface.co')}/datasets/{self.repository}/resolve/{place}"

    def cached(self, path: str, revision: str) -> Path | None:
        """A file of the hub that its own library has kept on this machine; None where there is none."""
        if self.host != "hub":
            return None
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.repository, path, revision=revision, repo_type="dataset")
        return Path(found) if isinstance(found, str) else None

    def files(self, only: Sequence[str]) -> tuple[str, ...]:
        """The paths of the files that are wanted.

        Args:
            only: behaviors by name or pattern, as `persona/*`; all files where empty.

        Raises:
            CompareError: nothing is chosen where the set is large, or a choice names nothing.
        """
        if self.host == "hub" or not (only or self.choose):
            return tuple(self.pins)
        names = {path: self._called(path) for path in self.pins}
        folders = sorted({f"{PurePosixPath(name).parent}/*" for name in names.values()}) if self.choose else []
        if not only:
            raise CompareError(
                f"{self.name} has {len(names)} {self.selects}: choose by --only, as "
                f"--only {next(iter(names.values()))}, or {', '.join(folders)}, or '*'."
            )
        chosen = {path for path, name in names.items() for each in only if fnmatch.fnmatchcase(name, each)}
        for each in only:
            if not any(fnmatch.fnmatchcase(name, each) for name in names.values()):
                error = unknown(f"choice of {self.name}", each, set(names.values()))
                raise CompareError(f"{error} Patterns: {', '.join(folders)}.") if folders else error
        return tuple(path for path in self.pins if path in chosen)

    def _called(self, path: str) -> str:
        """What a file is chosen by: its behavior, after its folder where the set has some."""
        parts = PurePosixPath(path).with_suffix("").parts
        return parts[-2] if parts[0] == "Datasets" else "/".join(parts)


def _endpoint(variable: str, default: str) -> str:
    """The host that the environment names, without a slash at its end; the default where it names none."""
    given = os.environ.get(variable) or default
    if not given.startswith(("http://", "https://")):
        raise CompareError(f"{variable}={given}: must begin with http:// or https://.")
    return given.rstrip("/")


def _known() -> dict[str, Source]:
    return {each["name"]: Source(**each) for each in json.loads(_beside("sources.json"))}


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


SOURCES: Mapping[str, Source] = _known()


@cache
def _pins() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(_beside("pins.json"))
    return found
