"""`python -m gateway.openapi --out FILE` writes the document of the protos as they were last generated."""

import argparse
import json
from pathlib import Path

from gateway.openapi.document import document
from gateway.surface import DESCRIPTORS, load


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m gateway.openapi", description="Writes the OpenAPI document.")
    parser.add_argument("--out", type=Path, required=True, help="the file to write, named .json")
    out: Path = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document(load(DESCRIPTORS)), ensure_ascii=False, indent=2) + "\n")


if __name__ == "__main__":
    main()
