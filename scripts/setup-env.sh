#!/usr/bin/env bash
# Makes .venv with the exact versions of requirements.lock and the project itself; does nothing when that is already so.
# SLIDEMILL_NO_LOCK=1 takes the newest versions that the floors of pyproject.toml allow instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

stamp=.venv/.slidemill-stamp
venv_python=.venv/bin/python

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

wanted_stamp() {
    { cat pyproject.toml requirements.lock scripts/setup-env.sh; echo "${SLIDEMILL_NO_LOCK:-0}"; } | cksum
    echo "$PWD"
}

# The scripts in a venv name its folder, so it cannot move or be copied along.
was_moved() {
    [ -f "$stamp" ] && [ "$(tail -n 1 "$stamp")" != "$PWD" ]
}

# Run it and see: a pyenv shim exists for every version, and fails for those that are not selected.
is_usable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 12))' </dev/null >/dev/null 2>&1
}

has_venv() {
    "$1" -c 'import ensurepip, venv' </dev/null >/dev/null 2>&1
}

candidates() {
    printf '%s\n' python3.13 python3.12 python3.14 python3 python
    local pyenv=${PYENV_ROOT:-${HOME:-}/.pyenv}/versions
    printf '%s\n' "$pyenv"/3.13*/bin/python "$pyenv"/3.1[2-9]*/bin/python
}

make_venv_with_uv() {
    command -v uv >/dev/null || return 1
    local version
    for version in 3.13 '>=3.12'; do
        uv venv --quiet --clear --python "$version" .venv </dev/null 2>/dev/null && is_usable "$venv_python" && return 0
    done
    return 1
}

make_venv_with_python() {
    local python without_venv=
    while read -r python; do
        is_usable "$python" || continue
        if has_venv "$python"; then
            "$python" -m venv --clear .venv </dev/null && return 0
            fail "$python could not make .venv (message above); is this folder writable and the disk not full?"
        fi
        without_venv=${without_venv:-$python}
    done < <(candidates)
    if [ -n "$without_venv" ]; then
        fail "$without_venv lacks the modules venv and ensurepip; install them (Debian, Ubuntu: apt-get install python3-venv) or uv, then run this again"
    fi
    fail "no Python >= 3.12 found; install Python 3.13 (or uv, which brings it), put it on PATH and run this again"
}

# pip_install ARGUMENTS...: with uv where there is one, else with the pip of the venv.
pip_install() {
    if command -v uv >/dev/null; then
        uv pip install --quiet --python "$venv_python" "$@" </dev/null
    else
        "$venv_python" -m pip --version >/dev/null 2>&1 || "$venv_python" -m ensurepip >/dev/null 2>&1 \
            || fail ".venv has no pip and cannot get it; remove .venv and run this again"
        # -qq: where a machine lists extra indexes, pip warns of each of them for each package.
        "$venv_python" -m pip install -qq --no-input --disable-pip-version-check "$@" </dev/null
    fi
}

could_not() { fail "could not install $1 (message above); is the package index reachable and the disk not full?"; }

install_locked() {
    say "installing $(grep -c == requirements.lock) packages from requirements.lock"
    pip_install --require-hashes -r requirements.lock || could_not "requirements.lock"
    say "installing slidemill"
    pip_install --no-deps --no-build-isolation -e . || could_not "slidemill"
}

install_newest() {
    say "installing slidemill with the newest packages that pyproject.toml allows"
    pip_install --upgrade -e '.[test,dev]' || could_not "slidemill"
}

wanted=$(wanted_stamp)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ -x "$venv_python" ]; then
    exit 0
fi

if was_moved || ! is_usable "$venv_python"; then
    make_venv_with_uv || make_venv_with_python
fi
rm -f "$stamp"
say "$("$venv_python" -V) in .venv"
if [ "${SLIDEMILL_NO_LOCK:-0}" = 1 ]; then install_newest; else install_locked; fi
echo "$wanted" >"$stamp"
say "ready in $SECONDS s"
