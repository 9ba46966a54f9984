"""All that a machine without a network lacks to run these benchmarks, in one folder.

python benchmarks/gpu/pack.py --out build/gpu-pack

That machine has Python 3.12 and what PRESENT names; what comes along is this project, diffusers,
cache-dit, and what these need beyond it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from requirements import canonical, needed

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LIMIT = 60e6  # bytes
PRESENT = {
    *("torch", "triton", "transformers", "accelerate", "numpy", "scipy", "safetensors"),
    *("huggingface-hub", "matplotlib", "rich", "typer", "torchmetrics", "scikit-learn"),
    # Brought by those. Not pydantic: its compiled half must be of the same version.
    *("filelock", "packaging", "pillow", "pyyaml", "regex", "requests", "tqdm"),
}
EXTRAS = ("", "peers")  # of this project
TAGS = (
    *("--python-version", "3.12", "--implementation", "cp", "--only-binary", ":all:"),
    *(f"--platform=manylinux_2_{minor}_x86_64" for minor in (28, 27, 17)),
    *("--platform=manylinux2014_x86_64", "--abi=cp312", "--abi=abi3", "--abi=none"),
)
UNWANTED = (".*", "build", "dist", "*.egg-info", "__pycache__")
INSTALL = """\
#!/bin/sh
python3 -m pip install --quiet --no-index --no-deps --upgrade --target "${1:-site}" "$(dirname "$0")"/*.whl
"""  # noqa: E501  # two lines
README = """\
What a machine without a network lacks to run the benchmarks of forecastcache on a GPU.

    sh install.sh site
    PYTHONPATH=site python3 gpu/run.py --device cuda --out results

It must have Python 3.12 on x86-64 Linux, and {present}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-pack")
    out = parser.parse_args().out
    require_pack(out)  # before minutes of downloads
    with TemporaryDirectory() as folder:
        staging = Path(folder) / "pack"
        staging.mkdir()
        gather(staging)
        (staging / "install.sh").write_text(INSTALL)
        (staging / "README").write_text(README.format(present=", ".join(sorted(PRESENT))))
        shutil.copytree(HERE, staging / "gpu", ignore=shutil.ignore_patterns(*UNWANTED))
        print(checked(staging))
        shutil.copytree(staging, emptied(out))
    print(out)


def gather(folder: Path) -> None:
    """Put the wheels there: this project's, and every one that is needed and not present."""
    waiting = [(build(folder), EXTRAS)]
    known = set(PRESENT)
    while waiting:
        wheel, extras = waiting.pop()
        for requirement in needed(wheel, extras):
            name = canonical(requirement.name)
            if name not in known:
                known.add(name)
                waiting.append((downloaded(f"{name}{requirement.specifier}", folder), ("",)))


def build(folder: Path) -> Path:
    """This project's wheel, of a copy: what lies in its build folder would end up in it."""
    with TemporaryDirectory() as place:
        source = Path(place) / "source"
        shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*UNWANTED))
        made = ("--wheel", "--no-isolation", "--outdir", str(folder), str(source))
        _run(sys.executable, "-m", "build", *made)
    return next(folder.glob("forecastcache-*.whl"))


def downloaded(requirement: str, folder: Path) -> Path:
    """The wheel of one package, without what it needs."""
    before = set(folder.glob("*.whl"))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet")
    _run(*pip, "--no-deps", *TAGS, "--dest", str(folder), requirement)
    return (set(folder.glob("*.whl")) - before).pop()


def checked(folder: Path, limit: float = LIMIT) -> str:
    """The sizes of what is in a folder; ends the program where they come to more than `limit`."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    files.sort(key=lambda path: -path.stat().st_size)
    whole = sum(path.stat().st_size for path in files)
    sizes = [f"{path.stat().st_size / 1e6:8.2f} MB  {path.relative_to(folder)}" for path in files]
    listed = "\n".join([*sizes, f"{whole / 1e6:8.2f} MB  in all"])
    if whole > limit:
        sys.exit(f"{listed}\nthat is above {limit / 1e6:g} MB: leave something out")
    return listed


def emptied(out: Path) -> Path:
    """The path of a pack, where an earlier one is removed and anything else refused."""
    require_pack(out)
    if out.exists():
        shutil.rmtree(out)
    return out


def require_pack(out: Path) -> None:
    """End the program where a folder holds a file that no earlier pack put there."""
    if not out.exists():
        return
    mark = README.partition("\n")[0]
    readme = out / "README"
    names = (
        {path.name for path in out.iterdir() if path.suffix != ".whl"} if out.is_dir() else {""}
    )
    ours = readme.is_file() and readme.read_text(errors="replace").startswith(mark)
    if names - {"install.sh", "README", "gpu"} or (any(out.iterdir()) and not ours):
        sys.exit(f"{out} holds something else than a pack: give another --out")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
