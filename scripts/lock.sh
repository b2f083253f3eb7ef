#!/usr/bin/env bash
# Writes requirements.lock anew: the newest versions that pyproject.toml allows, for every platform, with hashes and
# without index addresses. Look at the difference and run all tests before it is committed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if command -v uv >/dev/null; then
    uv=uv
else
    .venv/bin/python -m pip install -qq --disable-pip-version-check uv </dev/null
    uv=.venv/bin/uv
fi

"$uv" pip compile pyproject.toml --quiet --upgrade --extra test --extra dev --universal --python-version 3.12 \
    --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --output-file requirements.lock
