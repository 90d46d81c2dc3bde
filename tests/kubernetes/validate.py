"""Prints the documents of YAML files as JSON, each with what is wrong with it; run by an environment of its own.

What is wrong: "" for nothing, None where Kubernetes itself has no such kind.
"""

import json
import sys

import kubernetes_validate
import yaml

VERSION = "1.37"


def wrong(document: object) -> "str | None":
    try:
        # Not strict, it lets unknown names pass.
        kubernetes_validate.validate(document, VERSION, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return None
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return ""


if __name__ == "__main__":
    files = [[document for document in yaml.safe_load_all(open(name)) if document] for name in sys.argv[1:]]
    print(json.dumps([[[document, wrong(document)] for document in documents] for documents in files]))
