"""What corgi costs before anything is computed: seconds to import it, memory, and space on the disk, beside other libraries.

    python benchmarks/footprint.py

imports each library in fresh interpreters, in turn, and adds up the files of its distribution, alone and with all that it
requires. Imports are warm: a first one, which reads the files from the disk, is not counted. Times are the least of all
rounds.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import pathlib
import re
import subprocess
import sys

LIBRARIES = {"numpy": "numpy", "corgi": "corgi", "jax": "jax", "torch": "torch"}  # modules, and their distributions
IMPORT = """
import time
begin = time.perf_counter()
import {0}
seconds = time.perf_counter() - begin
peak = next((line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")), 0)
print(seconds, int(peak) / 1024)
"""


def imported(module):
    """Seconds, and the most MB resident, of an interpreter that imports a module from bytecode, as when installed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", IMPORT.format(module)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return tuple(map(float, done.stdout.split()))


def size(files):
    """MB of files, without the bytecode that Python writes when they are imported."""
    return sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc") / 1e6


def files_of(name):
    """Files of a distribution; of corgi those beside its modules, wherever it is imported from."""
    if name == "corgi":
        package, extension = (pathlib.Path(importlib.util.find_spec(module).origin) for module in ("corgi", "corgi._core"))
        return {extension} | {file for file in package.parent.rglob("*") if file.suffix in (".py", ".pyi", ".typed")}
    try:
        return [pathlib.Path(file.locate()) for file in importlib.metadata.files(name) or ()]
    except importlib.metadata.PackageNotFoundError:  # required on other systems
        return []


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def required(name):
    """The names of a distribution and of all that it requires, without extras."""
    found, todo = set(), {normal(name)}
    while todo:
        name = todo.pop()
        found.add(name)
        try:
            requirements = importlib.metadata.requires(name) or ()
        except importlib.metadata.PackageNotFoundError:
            requirements = ["numpy"] if name == "corgi" else ()  # corgi need not be installed
        wanted = {normal(re.match(r"[\w.-]+", text).group()) for text in requirements if "extra ==" not in text}
        todo |= wanted - found
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    modules = [module for module in LIBRARIES if importlib.util.find_spec(module)]
    runs = {module: [] for module in modules}
    for number in range(rounds + 1):
        for module in modules:
            run = imported(module)
            if number:
                runs[module].append(run)
    print("| library | import | beyond NumPy | peak memory | installed, itself | with what it requires |")
    print("|---|---|---|---|---|---|")
    numpy = min(seconds for seconds, _ in runs["numpy"])
    for module in modules:
        seconds, peak = map(min, zip(*runs[module], strict=True))
        beyond = f"{(seconds - numpy) * 1e3:.0f} ms" if module != "numpy" else ""
        alone = size(files_of(LIBRARIES[module]))
        together = sum(size(files_of(name)) for name in required(LIBRARIES[module]))
        print(f"| {module} | {seconds * 1e3:.0f} ms | {beyond} | {peak:.0f} MB | {alone:.1f} MB | {together:.0f} MB |")


if __name__ == "__main__":
    main()
