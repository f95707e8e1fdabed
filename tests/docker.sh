#!/usr/bin/env bash
# Build docker/Dockerfile and run what comes of it, without Docker Engine and without a registry: buildah and podman on a base of
# Debian's own packages, committed under the name that FROM uses. It proves the Dockerfile's steps, not the real base image.
#
#   tests/docker.sh base          the base, made once and kept in the machine's image store
#   tests/docker.sh build         the image muster:local
#   tests/docker.sh run NAME VOLUME FOLDER PORT [VARIABLE=VALUE ...]    in the foreground; SIGTERM ends it
#   tests/docker.sh healthy NAME  one run of its health check, by its exit code
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
base=$(sed -n 's/^FROM \([^ ]*\).*/\1/p' "$here/docker/Dockerfile" | tail -1)
engine=(podman --cgroup-manager=cgroupfs --events-backend=file)

# Where pip is told to look elsewhere, the build must look there as well: these variables and the folders that they name go along.
pip_environment() { env | grep -E '^(PIP_|https?_proxy|HTTPS?_PROXY|no_proxy|NO_PROXY|SSL_CERT_FILE)' || true; }

make_base() {
    buildah inspect --type image "$base" >/dev/null 2>&1 && return
    root=$(mktemp --directory) # not local: the trap runs when the function is over
    trap 'rm -rf "$root"' EXIT
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root/rootfs" >"$root/log" 2>&1 || { tail -5 "$root/log" >&2; exit 1; }
    ln -s /usr/bin/python3 "$root/rootfs/usr/local/bin/python"
    rm -rf "$root"/rootfs/var/cache/apt/archives/*.deb "$root"/rootfs/var/lib/apt/lists/*
    local container
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$root/rootfs" / >/dev/null
    buildah commit --quiet --rm --format docker "$container" "$base" >/dev/null
}

build() {
    local arguments=() line value
    while IFS= read -r line; do
        [[ -n $line ]] || continue
        arguments+=(--env "$line")
        for value in ${line#*=}; do
            value=${value#file://}
            [[ $value == /* && -e $value ]] && arguments+=(--volume "$value:$value:ro")
        done
    done < <(pip_environment)
    buildah bud --isolation chroot --pull-never --format docker --quiet "${arguments[@]}" \
        --ignorefile "$here/docker/Dockerfile.dockerignore" --file "$here/docker/Dockerfile" --tag muster:local "$here"
}

run() {
    local name=$1 volume=$2 folder=$3 port=$4 one
    shift 4
    local environment=(--env "MUSTER_HTTP_PORT=$port" --env MUSTER_HTTP_HOST=127.0.0.1)
    for one in "$@"; do environment+=(--env "$one"); done
    # As strict as compose.yaml: read-only, no capability, no new privileges. The loopback of this machine stands in for a published port.
    exec "${engine[@]}" run --rm --name "$name" --runtime runc --network=host --read-only --read-only-tmpfs=false --cap-drop=all \
        --security-opt=no-new-privileges --pids-limit=256 --health-interval=disable --ulimit=nofile=4096:4096 --ulimit=nproc=4096:4096 --volume "$volume:/data" --volume "$folder:/etc/muster:ro" "${environment[@]}" muster:local
}

case ${1:-} in
    base) make_base ;;
    build) make_base && build ;;
    run) shift && run "$@" ;;
    healthy) exec "${engine[@]}" healthcheck run "$2" ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
