# Sourced by tests/run and .ci/run: installs Debian packages that are missing, without a terminal and without
# letting any service start.

# install_missing COMMAND=PACKAGE...: installs each package whose command, or file with its whole path, isn't there.
install_missing() {
    local pair missing=()
    for pair in "$@"; do
        case $pair in /*) [ -e "${pair%%=*}" ] && continue ;; esac
        PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    command -v apt-get >/dev/null || {
        echo "missing: ${missing[*]}; this is no Debian, install them by hand" >&2
        return 1
    }
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || {
            echo "missing: ${missing[*]}; run as root or install sudo" >&2
            return 1
        }
        root=(sudo -n)
    fi
    echo "installing ${missing[*]}"
    forbid_services "${root[@]}"
    local try status=1
    for try in 1 2 3 4; do
        if "${root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get update -qq -o Acquire::Retries=3 \
            -o DPkg::Lock::Timeout=300 &&
            "${root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get install -y -qq \
                --no-install-recommends -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
                -o Dpkg::Options::=--force-confold "${missing[@]}" >/dev/null; then
            status=0
            break
        fi
        echo "attempt $try to install failed" >&2
        sleep $((try * 5))
    done
    allow_services "${root[@]}"
    return $status
}

# Debian starts nginx, haproxy and keepalived on installation; a policy of 101 ("forbidden") stops that. A policy that
# the machine already has is left alone.
policy=/usr/sbin/policy-rc.d
policy_is_ours=no

forbid_services() {
    [ -e $policy ] && return 0
    policy_is_ours=yes
    printf '#!/bin/sh\nexit 101\n' | "$@" tee $policy >/dev/null
    "$@" chmod 755 $policy
    # A run that is interrupted must not leave the policy behind.
    # shellcheck disable=SC2064
    trap "allow_services $*" EXIT
}

allow_services() {
    [ $policy_is_ours = yes ] || return 0
    policy_is_ours=no
    "$@" rm -f $policy
    trap - EXIT
}
