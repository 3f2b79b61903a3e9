#!/usr/bin/env bash
# Build the Galaxy tarball and the wheel into dist/, from what git knows and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/build/dist
rm -rf "$work" dist
mkdir -p "$work" dist
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    if [ -e "$file" ]; then printf '%s\0' "$file"; fi
done | tar --null --files-from=- -cf - | tar -xf - -C "$work"
ansible-galaxy collection build "$work" --output-path dist
python3 -m build --wheel --outdir dist "$work"
