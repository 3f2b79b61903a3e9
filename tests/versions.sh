#!/bin/sh
# The playbook on the newest ansible-core that a Python of this machine can run, in an environment of its own.
set -eu
cd "$(dirname "$0")/.."
for version in 3.14 3.13 3.12; do
    for python in "$(command -v "python$version" || true)" "$HOME/.pyenv/versions/$version".*/bin/python; do
        if [ -x "$python" ] && "$python" -c "import sys; sys.exit(sys.version_info < (3, 12))"; then
            "$python" -m venv build/newest
            build/newest/bin/pip install --quiet --disable-pip-version-check --upgrade ansible-core boto3 jmespath python-dateutil
            build/newest/bin/python -m ansible playbook --version | head -n 1
            PATCHWAVE_TEST_ANSIBLE="$PWD/build/newest/bin/python" exec .venv/bin/pytest tests/e2e/test_versions.py
        fi
    done
done
echo "versions: no Python 3.12 or newer found; the newest ansible-core needs one" >&2
exit 1
