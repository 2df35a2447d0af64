"""A browser for the tests: an installed Chromium, else Playwright's, else Debian's package.

``python -m tests.browser.chromium``, which ``make test`` runs first, gets one where there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, Error, Playwright, sync_playwright

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
# No window, no graphics card, and nothing that goes out to the network by itself.
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ADVICE = (
    "There is no browser for the tests in it. Install one (Debian: 'apt install chromium'; elsewhere: "
    "'.venv/bin/python -m playwright install chromium', or Google Chrome) and run the tests again."
)


def launch(playwright: Playwright) -> Browser:
    """Start Chromium without a window; without one the test is skipped, or fails where CI=true."""
    # Chromium's sandbox needs an ordinary user.
    sandbox = [] if os.geteuid() else ["--no-sandbox"]
    try:
        return playwright.chromium.launch(executable_path=installed(), args=[*FLAGS, *sandbox])
    except Error as error:
        if os.environ.get("CI") == "true":
            raise
        import pytest  # benchmarks use this module without it

        pytest.skip(f"{ADVICE} ({str(error).splitlines()[0]})")


def installed() -> str | None:
    """The path of a Chromium or Chrome that the system has; None leaves the choice to Playwright."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def provide() -> bool:
    """Get a browser that starts, if there is none yet. Returns whether there is one."""
    return starts() or (_get_playwrights() and starts()) or (_get_debians() and starts())


def starts() -> bool:
    with sync_playwright() as playwright:
        if installed() is None and not Path(playwright.chromium.executable_path).exists():
            return False
        try:
            playwright.chromium.launch(executable_path=installed(), args=[*FLAGS, "--no-sandbox"]).close()
        except Error:
            return False
        return True


def _get_playwrights() -> bool:
    print("rankloop: getting Playwright's Chromium for the browser tests", flush=True)
    return _succeeds([sys.executable, "-m", "playwright", "install", "chromium"])


def _get_debians() -> bool:
    if not shutil.which("apt-get"):
        return False
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and not (shutil.which("sudo") and _succeeds(["sudo", "-n", "true"])):
        return False
    print("rankloop: installing Debian's chromium for the browser tests", flush=True)
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    return _succeeds([*apt, "update"]) and _succeeds(
        [*apt, "install", "-y", "--no-install-recommends", "chromium"]
    )


def _succeeds(command: list[str]) -> bool:
    try:
        return (
            subprocess.run(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600
            ).returncode
            == 0
        )
    except subprocess.TimeoutExpired:
        return False


if __name__ == "__main__":
    if not provide():
        print(f"rankloop: {ADVICE}", file=sys.stderr)
        sys.exit(os.environ.get("CI") == "true")
