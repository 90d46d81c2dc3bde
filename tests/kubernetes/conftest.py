"""What kustomize makes of deploy/kubernetes, validated once for all tests."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from deploy.local.errors import LocalError
from tests.conftest import ROOT
from tests.environments import NotInstalled, programs_of
from tests.kubernetes.kinds import KINDS
from tests.kubernetes.kustomize import kustomize
from tests.kubernetes.rendered import Document, Rendered

FOLDER = ROOT / "deploy/kubernetes"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
# Each with its folder; the last is the one that the comment in the overlay describes.
NAMES = {"base": "base", "keda": "overlays/keda", "rabbitmq": "overlays/rabbitmq", "both": "overlays/both"}


class Validation:
    """Validates documents: by Kubernetes' own schemas and, for other kinds, by those of kinds.py."""

    def __init__(self, programs: Path) -> None:
        self._python = programs / "python"

    def __call__(self, *files: Path) -> list[list[tuple[Document, str]]]:
        """For each file, its documents, each with what is wrong with it, "" for nothing."""
        command = [str(self._python), str(Path(__file__).with_name("validate.py")), *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        files_found = json.loads(done.stdout)
        return [[(document, self._wrong(document, found)) for document, found in file] for file in files_found]

    @staticmethod
    def _wrong(document: Any, found: str | None) -> str:
        if found is not None:
            return found
        schema = KINDS.get(document.get("kind"))
        if schema is None:
            return "nothing knows this kind"
        return "; ".join(error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(document))


@pytest.fixture(scope="session")
def validation() -> Validation:
    """Validates files."""
    try:
        return Validation(programs_of("kubernetes", REQUIREMENTS))
    except NotInstalled as error:
        pytest.skip(f"kubernetes-validate: {error}")


@pytest.fixture(scope="session")
def all_rendered(validation: Validation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rendered]:
    """All that can be built, by name."""
    try:
        program = kustomize()
    except LocalError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("kubernetes")
    copy = folder / "deploy"
    shutil.copytree(FOLDER, copy)
    shutil.copytree(copy / "overlays/keda", copy / "overlays/both")
    both = copy / "overlays/both/kustomization.yaml"
    both.write_text(both.read_text().replace("- ../../base\n", "- ../rabbitmq\n"))
    files = [folder / f"{name}.yaml" for name in NAMES]
    for name, file in zip(NAMES.values(), files):
        with file.open("w") as output:
            subprocess.run([program, "build", str(copy / name)], stdout=output, check=True, timeout=60)
    return {name: Rendered(found) for name, found in zip(NAMES, validation(*files))}


@pytest.fixture(params=NAMES)
def rendered(all_rendered: dict[str, Rendered], request: pytest.FixtureRequest) -> Rendered:
    """The base, or an overlay."""
    return all_rendered[request.param]
