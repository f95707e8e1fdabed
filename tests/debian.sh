#!/usr/bin/env bash
# Bring the parts that pip cannot: Debian's packages. Without root, say what is missing and let the tests skip with their reasons.
set -euo pipefail
wanted=(prometheus prometheus-alertmanager haproxy chromium buildah podman runc debootstrap etcd-server)
missing=()
for package in "${wanted[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
((${#missing[@]})) || exit 0
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "Not installed and not installable here: ${missing[*]}. The tests that need them are skipped." >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# The services of these packages must not start: the tests start their own.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d.muster
chmod +x /usr/sbin/policy-rc.d.muster
[[ -e /usr/sbin/policy-rc.d ]] || ln -s policy-rc.d.muster /usr/sbin/policy-rc.d
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
[[ $(readlink /usr/sbin/policy-rc.d || true) != policy-rc.d.muster ]] || rm /usr/sbin/policy-rc.d
rm -f /usr/sbin/policy-rc.d.muster
