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

# The first whole number of a text: the major version of most that print one.
major() { grep -oE '[0-9]+' <<<"$1" | head -n 1; }

# at_least PROGRAM WANTED FOUND: refuses what is older.
at_least() {
    [ "$(major "$3")" -ge "$2" ] || fail "$1 $2 or newer is needed, and this machine has: ${3%%$'\n'*}"
}

# Whoever names servers in the environment needs none here.
check_versions() {
    local initdb
    [ -n "${VELVET_KAFKA_BROKERS:-}" ] || at_least Java 17 "$(java -version 2>&1 | grep -i version)"
    [ -n "${VELVET_REDIS_URLS:-}" ] || at_least Redis 7 "$(redis-server --version)"
    if [ -z "${VELVET_POSTGRES_URL:-}" ]; then
        initdb=$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1) || initdb=initdb
        at_least PostgreSQL 15 "$("$initdb" --version)"
    fi
}

# The page and the TypeScript client want Node.js 20.
node_is_new_enough() { have node && [ "$(major "$(node --version)")" -ge 20 ]; }

install_missing() {
    have cargo || fail "Rust is not installed: get it with rustup (1.95 or newer)"
    local packages as_root=()
    mapfile -t packages < <(missing_packages)
    if [ "${#packages[@]}" = 0 ]; then
        check_versions
        return 0
    fi
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
    check_versions
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
    if ! node_is_new_enough; then
        say "Node.js 20 or newer is missing (there is $(node --version 2>/dev/null || say none)), so the page at / is not built"
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
