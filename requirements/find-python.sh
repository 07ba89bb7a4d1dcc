#!/usr/bin/env bash
# Prints the first Python on PATH that the project supports. Fails if there is none.
for name in python3.11 python3.12 python3.13 python3; do
    while read -r candidate; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "$candidate"
            exit 0
        fi
    done < <(type -ap "$name")
done
echo "no Python 3.11, 3.12 or 3.13 on PATH; name one with PYTHON=..." >&2
exit 1
