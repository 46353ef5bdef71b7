#!/bin/sh
# Install the lessons of this kit without network, on Linux or macOS: sh install.sh [FOLDER]
# .venv comes into FOLDER, with the lessons; without FOLDER, into the kit itself.

for python in "${PYTHON:-python@PYTHON@}" python@PYTHON@ python3 python; do
    if "$python" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "@PYTHON@")' 2>/dev/null; then
        exec "$python" "$(dirname -- "$0")/install.py" "$@"
    fi
done
echo "This kit needs Python @PYTHON@. Install it, or name it: PYTHON=/path/to/python@PYTHON@ sh install.sh" >&2
exit 1
