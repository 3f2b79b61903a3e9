#!/usr/bin/env bash
# Run ansible-test sanity without containers, on a copy of the collection in the layout that ansible-test wants. The
# driver, the lab and the tests are not part of the collection; ruff and mypy read them.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(command -v python3)
work=$PWD/build/sanity
target=$work/ansible_collections/patchwave/aws
rm -rf "$work/ansible_collections"
mkdir -p "$target" "$work/ansible_collections/amazon"
git ls-files -z --cached --others --exclude-standard -- .gitignore LICENSE README.md changelogs galaxy.yml inventory meta playbooks plugins roles | while IFS= read -r -d '' file; do
    if [ -e "$file" ]; then printf '%s\0' "$file"; fi
done | tar --null --files-from=- -cf - | tar -xf - -C "$target"
cp -r "$("$python" -c 'import ansible_collections.amazon.aws as c; print(list(c.__path__)[0])')" "$work/ansible_collections/amazon/aws"

# ansible-test makes a virtual environment for each test and fetches pip for it from the network; where it finds this
# file it does not. The file's name carries the version of pip that this ansible-test asks for.
export HOME=$work/home
mkdir -p "$HOME/.ansible/test/cache"
pip=$("$python" -c 'from ansible_test._internal.python_requirements import get_venv_packages
from ansible_test._internal.host_configs import VirtualPythonConfig
import sys
print(get_venv_packages(VirtualPythonConfig(version="%d.%d" % sys.version_info[:2], path=sys.executable))["pip"])')
printf 'import ensurepip\nensurepip.bootstrap(default_pip=True)\n' > "$HOME/.ansible/test/cache/get_pip_${pip//./_}.py"

cd "$target"
git init --quiet # or ansible-test asks the checkout around it, which ignores build/
exec ansible-test sanity --venv --python "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" --color no "$@"
