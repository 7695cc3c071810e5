# Sourced by tests/systems/*/run. Says how a system is told where its database is, and what the scripts have in common.
#
#   run version     what is installed here: one line. Ends with 3 and a sentence where the system is not installed.
#   run prepare     makes $SYSTEM_CACHE, which all databases of this machine share (packages from PyPI)
#   run install     the system's schema, made by its own code, in the empty database $SYSTEM_DATABASE, and the seed
#   run serve       answers questions, one JSON object a line, each answer a line "=> ..."; ends with its input
#
# SYSTEM_DATABASE: postgres://USER@HOST:PORT/NAME, mysql://USER@HOST:PORT/NAME or sqlite:/FILE
# SYSTEM_FOLDER:   the files of this one installation
# shellcheck shell=bash
set -euo pipefail

if [[ ${SYSTEM_DATABASE:-} =~ ^(postgres|mysql)://([^:@/]+)@([^:/]+):([0-9]+)/(.+)$ ]]; then
    vendor=${BASH_REMATCH[1]} user=${BASH_REMATCH[2]} host=${BASH_REMATCH[3]} port=${BASH_REMATCH[4]} name=${BASH_REMATCH[5]}
elif [[ ${SYSTEM_DATABASE:-} =~ ^sqlite:(/.+)$ ]]; then
    vendor=sqlite user='' host='' port='' name=${BASH_REMATCH[1]}
elif [ -n "${SYSTEM_DATABASE:-}" ]; then
    echo 'SYSTEM_DATABASE: a URL that is not understood' >&2
    exit 2
fi

# Ends with 3: not installed. $1 says how it would be.
absent() {
    echo "$1" >&2
    exit 3
}

# The version of a Debian package, or `absent`.
debian_version() {
    local status
    status=$(dpkg-query -W -f '${db:Status-Status} ${Version}' "$1" 2>/dev/null) || true
    [[ $status == installed* ]] || absent "apt-get install $2"
    echo "$1-${status#installed }"
}

# A Python environment in $SYSTEM_CACHE with these packages.
python_packages() {
    command -v python3 >/dev/null || absent 'apt-get install python3 python3-venv'
    python3 -m venv "$SYSTEM_CACHE"
    "$SYSTEM_CACHE/bin/pip" -q install "$@"
}
