"""The documents of a cluster, looked at by those who have rules for them. No I/O."""

from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]


class Rendered:
    """What kustomize has built.

    Args:
        found: the documents, each with what is wrong with it.

    Attributes:
        documents: all of them.
        wrong: what is wrong, by kind and name.
    """

    def __init__(self, found: list[tuple[Document, str]]) -> None:
        self.documents = [document for document, _ in found]
        self.wrong = {f"{each['kind']} {each['metadata']['name']}": what for each, what in found if what}

    def of(self, kind: str) -> dict[str, Document]:
        """The documents of a kind, by name."""
        return {each["metadata"]["name"]: each for each in self.documents if each["kind"] == kind}

    def pods(self) -> dict[str, Document]:
        """The templates of the pods, by the names of their Deployments."""
        return {name: each["spec"]["template"] for name, each in self.of("Deployment").items()}

    def containers(self) -> dict[str, Document]:
        """The only container of each pod."""
        found = {}
        for name, pod in self.pods().items():
            (found[name],) = pod["spec"]["containers"]
        return found

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a container that are no secrets."""
        container, variables = self.containers()[name], {}
        for source in container["envFrom"]:
            if "configMapRef" in source:
                variables |= self.of("ConfigMap")[source["configMapRef"]["name"]]["data"]
        return variables | {each["name"]: each["value"] for each in container.get("env", [])}

    def named(self, kind: str) -> set[str]:
        """The Secrets or ConfigMaps that anything uses."""
        keys = {
            "Secret": {("secretRef", "name"), ("secret", "secretName"), ("tls", "secretName")},
            "ConfigMap": {("configMapRef", "name"), ("configMap", "name")},
        }[kind]
        names = {value[key] for place, value in walk(self.documents) for known, key in keys if place == known}
        if kind == "Secret":
            for each in self.of("TriggerAuthentication").values():
                names |= {reference["name"] for reference in each["spec"]["secretTargetRef"]}
        return names

    def selectors(self) -> Iterator[tuple[str, dict[str, str]]]:
        """What picks pods by their labels, and the labels."""
        for each in self.documents:
            place, spec = f"{each['kind']} {each['metadata']['name']}", each["spec"] if "spec" in each else {}
            for key in ("selector", "podSelector"):
                if key in spec:
                    yield place, spec[key].get("matchLabels", spec[key])
            for name, value in walk(spec):
                if name in ("labelSelector", "podSelector"):
                    yield place, value["matchLabels"]


def walk(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each object within a value, with the name of the member that holds it."""
    if isinstance(value, dict):
        yield name, value
        for key, member in value.items():
            yield from walk(member, key)
    elif isinstance(value, list):
        for item in value:
            yield from walk(item, name)
