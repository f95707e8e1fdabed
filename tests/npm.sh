#!/usr/bin/env bash
# Bring the parts that pip cannot: npm's, pinned in tests/parts/npm, run by the Node that pip brought. Where no registry can be
# reached, say so and let the tests skip with their reasons.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wanted=$root/tests/parts/npm
there=$root/.muster/npm
npm=$root/.venv/bin/npm
if [[ ! -x $npm ]]; then
    echo "There is no npm in .venv; \`make test\` brings it. The tests that need npm's parts are skipped." >&2
    exit 0
fi
mkdir -p "$there"
exec 9> "$there/.lock"
if command -v flock >/dev/null; then flock 9; fi # two runs at once would tear each other's files out
cmp -s "$wanted/package-lock.json" "$there/.installed" && exit 0
cp "$wanted/package.json" "$wanted/package-lock.json" "$there/"
# No script of a package is run: the servers need none, and nobody has read them all.
if "$npm" --prefix "$there" ci --ignore-scripts --no-audit --no-fund --loglevel=error; then
    cp "$wanted/package-lock.json" "$there/.installed"
else
    echo "npm's parts cannot be installed here. The tests that need them are skipped." >&2
fi
