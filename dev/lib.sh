# shellcheck shell=bash
# What the scripts in this folder share. Sourced, after `cd` to the root of the checkout.

# Compiled dependencies are shared by all checkouts of a user.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/velvet/target}"

say() { printf '%s\n' "$*"; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Debian's packages that this machine lacks, one a line.
missing_packages() {
    local pair
    for pair in cc:build-essential pkg-config:pkg-config cmake:cmake mold:mold protoc:protobuf-compiler \
        redis-server:redis-server java:openjdk-17-jre-headless mvn:maven; do
        have "${pair%%:*}" || say "${pair#*:}"
    done
    # The router's build reads the well-known types beside the compiler.
    [ -e /usr/include/google/protobuf/timestamp.proto ] || [ "$(uname)" != Linux ] || say libprotobuf-dev
    have initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || say postgresql
    have psql || say postgresql-client
    # The page at / and the TypeScript client.
    have npm || say npm
    # The example for partners in Python.
    have python3 || say python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || say python3-venv
}

install_missing() {
    have cargo || fail "Rust is not installed: get it with rustup (1.95 or newer)"
    local packages as_root=()
    mapfile -t packages < <(missing_packages)
    [ "${#packages[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        as_root=(sudo)
        [ -t 0 ] || as_root=(sudo -n)
    fi
    if ! have apt-get || { [ "$(id -u)" != 0 ] && ! have sudo; }; then
        fail "please install these (names as in Debian), or name running servers in the environment: ${packages[*]}"
    fi
    say "installing ${packages[*]}"
    "${as_root[@]}" apt-get update -q </dev/null >/dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${packages[@]}" </dev/null >/dev/null
}

# The page at /: built when npm is there and the sources are newer than what was built.
build_playground() {
    local folder=router/playground
    [ -f "$folder/package.json" ] || return 0
    if ! have npm; then
        say "npm is missing, so the page at / is not built"
        return 0
    fi
    if [ -f "$folder/dist/index.html" ] &&
        [ -z "$(find "$folder" -newer "$folder/dist/index.html" -type f \
            -not -path '*/node_modules/*' -not -path '*/dist/*' -print -quit)" ]; then
        return 0
    fi
    (cd "$folder" && npm ci --no-audit --no-fund && npm run build) </dev/null
}

# The examples for partners: built and tested; the tests on the stack run them.
partner_examples() {
    (cd clients/partner/typescript && npm ci --no-audit --no-fund && npm test) || return
    (
        cd clients/partner/python &&
            { [ -x .venv/bin/python ] || python3 -m venv .venv; } &&
            .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt &&
            .venv/bin/python -m unittest
    )
}
