"""`python -m gateway.envoy --out FILE` writes Envoy's bootstrap for the environment's settings."""

import argparse
from pathlib import Path

from gateway.envoy.render import render
from gateway.envoy.settings import GatewaySettings


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m gateway.envoy", description="Renders Envoy's bootstrap.")
    parser.add_argument("--out", type=Path, required=True, help="the file to write, named .json or .yaml")
    out: Path = parser.parse_args().out
    out.write_text(render(GatewaySettings.from_env()))


if __name__ == "__main__":
    main()
