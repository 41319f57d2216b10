"""`python -m gateway.openapi` writes what the protos make, as they were last generated: with `--out FILE` the document,
with `--freeze FILE` the shapes of v1's JSON."""

import argparse
import json
from pathlib import Path

from gateway.openapi.document import document
from gateway.openapi.shapes import shapes
from gateway.surface import DESCRIPTORS, load


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m gateway.openapi", description="Writes the OpenAPI document.")
    parser.add_argument("--out", type=Path, help="the file to write the document to, named .json")
    parser.add_argument("--freeze", type=Path, help="the file to write the shapes of v1's JSON to")
    arguments = parser.parse_args()
    made = document(load(DESCRIPTORS))
    if arguments.out:
        arguments.out.write_text(json.dumps(made, ensure_ascii=False, indent=2) + "\n")
    if arguments.freeze:
        arguments.freeze.write_text(shapes(made, "/v1/"))


if __name__ == "__main__":
    main()
