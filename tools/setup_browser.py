"""Brings what the tests of the page need: Chromium, by Debian's packages where it may, and playwright-core.

    python3 tools/setup_browser.py            (needs Node 20 or newer with npm; does nothing when all is there)
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1] / "tests" / "browser"
# Where tests/browser/browser.js looks.
BROWSERS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
NODE = 20


def main():
    node()
    browser()
    packages()


def node():
    for program in ("node", "npm"):
        if not shutil.which(program):
            sys.exit(f"error: expected {program} in the path, found none: install Node {NODE} or newer with npm")
    version = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    if int(re.match(r"v(\d+)", version)[1]) < NODE:
        sys.exit(f"error: expected Node {NODE} or newer, found {version}")


def browser():
    if found := os.environ.get("CHROMIUM"):
        if not pathlib.Path(found).is_file():
            sys.exit(f"error: CHROMIUM: expected a browser, found nothing at {found}")
        return
    if any(pathlib.Path(path).is_file() for path in BROWSERS):
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        sys.exit(f"error: expected Chromium at one of {', '.join(BROWSERS)}, found none: install it, for instance "
                 "by `apt-get install chromium`, or name one in CHROMIUM")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
        subprocess.run(["apt-get", "--quiet", "--quiet", *words], check=True, env=environment, stdout=sys.stderr)


def packages():
    # npm writes this file when it is done, so it is older than a lock that has changed since.
    done, lock = TESTS / "node_modules" / ".package-lock.json", TESTS / "package-lock.json"
    if done.is_file() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    subprocess.run(["npm", "ci", "--loglevel", "error", "--no-audit", "--no-fund"], check=True, cwd=TESTS)


if __name__ == "__main__":
    main()
