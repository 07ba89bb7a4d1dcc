"""Build the image without a Docker daemon, look through it, and run its roles as an operator's cluster would.

    python -m image.rehearse [--variant cpu] [--folder DIR] [--model DIR] [--only build|tree|run]

Debootstrap makes the base image, Buildah builds the Dockerfile on it, Podman runs the result: as user 10001, without
capabilities or a network, with a root file system that cannot be written. Progress goes to stderr, one JSON document to
stdout. The exit status is 0 if nothing was found to be wrong. Needs root, and 15 GB below the folder.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from image import tree
from image.containers import Containers, RehearsalFailed, check_tools
from image.trials import COMMANDS, SERVERS, USER, Trials

REPOSITORY = Path(__file__).resolve().parent.parent
SUITE, BASE = "bookworm", "localhost/loraplex-base:bookworm"
_DEFAULT_MODEL = REPOSITORY / ".loraplex" / "models" / "SmolLM2-135M-Instruct"
_PARTS = ("build", "tree", "run")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    options = _parser().parse_args(arguments)
    wanted = _PARTS if options.only is None else (options.only,)
    image = f"localhost/loraplex:{_version()}-{options.variant}"
    report: dict[str, Any] = {"image": image, "problems": []}
    try:
        check_tools()
        containers = Containers(options.folder)
        if "build" in wanted:
            report["base"] = _make_base(containers, options.folder, options.mirror)
            report["build"] = _build(containers, image, options)
        if "tree" in wanted:
            report["tree"] = look_through(containers, image, options.variant)
            report["problems"] += report["tree"].pop("problems")
        if "run" in wanted:
            report["run"] = _run(containers, image, options, report["problems"])
    except RehearsalFailed as error:
        report["problems"].append(str(error))
    print(json.dumps(report, indent=2))
    return 1 if report["problems"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m image.rehearse", description=__doc__.partition("\n")[0])
    parser.add_argument("--variant", choices=("cpu", "gpu"), default="cpu", help="what to build (default: cpu)")
    parser.add_argument("--only", choices=_PARTS, help="one part alone; the others' results must be there")
    parser.add_argument("--model", type=Path, default=_DEFAULT_MODEL, help="checkpoint to serve (default: the demo's)")
    parser.add_argument("--mirror", help="Debian mirror to make the base from; default: debootstrap's")
    folder = Path("/var/tmp/loraplex-image")  # noqa: S108
    parser.add_argument("--folder", type=Path, default=folder, help=f"images and layers (default: {folder})")
    return parser


def look_through(containers: Containers, image: str, variant: str) -> dict[str, Any]:
    """What is wrong with the image's configuration and files, and its sizes in MB."""
    described = containers.inspect(image)
    with containers.mounted(image) as root:
        found = list(tree.walk(root))
    config = described["Config"]
    wrong = tree.problems(found, USER, build_tools=variant == "gpu")
    if config.get("User") != f"{USER}:{USER}":
        wrong.append(f"the image runs as {config.get('User')!r}, not as {USER}:{USER}")
    return {
        "problems": wrong,
        "entry_point": config.get("Entrypoint"),
        "layers": len(described["RootFS"]["Layers"]),
        "files": len(found),
        "megabytes": tree.sizes(found),
        "embedding_models": [str(path) for path in tree.embedding_models(found)],
    }


def _make_base(containers: Containers, folder: Path, mirror: str | None) -> dict[str, Any]:
    """Debian's minimal system, as `debian:bookworm-slim` holds it but for the documentation that that leaves out."""
    if containers.has_image(BASE):
        return {"made": "before"}
    _say(f"Debian {SUITE} by debootstrap")
    root, started = folder / "debian", time.monotonic()
    shutil.rmtree(root, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", SUITE, str(root), *([mirror] if mirror else [])]
    done = subprocess.run(command, check=False, text=True, capture_output=True)
    if done.returncode != 0:
        raise RehearsalFailed(f"debootstrap ended with {done.returncode}: {done.stdout[-1000:]}")
    container = containers.buildah("from", "scratch").strip()
    containers.buildah("add", container, str(root), "/")
    containers.buildah("commit", container, BASE)
    containers.buildah("rm", container)
    shutil.rmtree(root)
    return {"made": "now", "seconds": round(time.monotonic() - started, 1)}


def _build(containers: Containers, image: str, options: argparse.Namespace) -> dict[str, Any]:
    """The Dockerfile, by Buildah. Layers that are there already are used again."""
    _say(f"building {image}")
    started = time.monotonic()
    build_arguments = {"BASE": BASE, "VARIANT": options.variant, "VERSION": _version()}
    shared: list[str] = []
    # What this machine needs to reach its packages, the build needs too; none of it gets into the image.
    if authorities := os.environ.get("SSL_CERT_FILE"):
        build_arguments |= {"SSL_CERT_FILE": "/run/authorities.crt", "PIP_CERT": "/run/authorities.crt"}
        shared.append(f"--volume={authorities}:/run/authorities.crt:ro")
    if wheels := os.environ.get("PIP_FIND_LINKS"):
        local = Path(wheels).is_dir()
        build_arguments["PIP_FIND_LINKS"] = "/run/wheels" if local else wheels
        shared += [f"--volume={wheels}:/run/wheels:ro"] if local else []
    containers.build(
        [
            *("--isolation=chroot", "--network=host", "--layers", "--pull-never", f"--tag={image}"),
            *(f"--build-arg={name}={value}" for name, value in build_arguments.items()),
            *shared,
            str(REPOSITORY),
        ]
    )
    return {"seconds": round(time.monotonic() - started, 1)}


def _run(containers: Containers, image: str, options: argparse.Namespace, problems: list[str]) -> dict[str, Any]:
    """Every role, one after the other. What fails is added to ``problems``."""
    if not (options.model / "config.json").is_file():
        raise RehearsalFailed(f"no checkpoint in {options.model}; `make model` builds it, or give --model")
    folder = options.folder / "trials"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    trials = Trials(containers, image, options.model, folder)
    report: dict[str, Any] = {"login_shell": trials.login_shell().splitlines()}
    for trial in (*COMMANDS, *SERVERS):
        _say(trial.name)
        try:
            report[trial.name] = trials.server(trial) if trial in SERVERS else trials.command(trial)
        except RehearsalFailed as error:
            problems.append(f"{trial.name}: {error}")
    return report


def _version() -> str:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def _say(message: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
