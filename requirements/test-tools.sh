#!/usr/bin/env bash
# What tests use that is no Python package: Debian's Prometheus, for dashboards and rules, Chromium, for pages, and
# PostgreSQL, for state. Tests that need what is not there are skipped, so nothing here is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
has() { command -v "$1" >/dev/null; }

# The package is unpacked and not installed: an installed one starts a server on every interface.
unpack_prometheus() {
    local folder
    if [ -x .venv/prometheus/usr/bin/promtool ] || has promtool; then return 0; fi
    folder=$(mktemp -d)
    chmod 755 "$folder"
    if (cd "$folder" && download_prometheus) && dpkg-deb --extract "$folder"/prometheus_*.deb .venv/prometheus; then
        say "Unpacked Prometheus"
    else
        say "Prometheus cannot be fetched: tests of dashboards and rules against it are skipped"
    fi
    rm -rf "$folder"
}

download_prometheus() {
    apt-get download -qq prometheus 2>/dev/null && return
    [ "$(id -u)" = 0 ] && apt-get update -qq && apt-get download -qq prometheus
}

install_chromium() {
    if has chromedriver; then return 0; fi
    if [ "$(id -u)" != 0 ]; then
        say "Tests of pages are skipped: sudo apt-get install chromium chromium-driver"
    elif apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        chromium chromium-driver >/dev/null; then
        say "Installed Chromium and its driver"
    else
        say "Chromium cannot be installed: tests of pages are skipped"
    fi
}

# Its programs alone: without the setting the package makes a cluster and starts a server.
install_postgresql() {
    if has initdb || compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null; then return 0; fi
    if [ "$(id -u)" != 0 ]; then
        say "Tests of PostgreSQL are skipped: sudo apt-get install postgresql"
        return 0
    fi
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Dpkg::Options::=--force-confold postgresql >/dev/null; then
        say "Installed PostgreSQL"
    else
        say "PostgreSQL cannot be installed: tests of it are skipped"
    fi
}

if has apt-get; then
    unpack_prometheus
    install_chromium
    install_postgresql
else
    say "Not Debian: tests that need Prometheus, Chromium or PostgreSQL are skipped where these are not installed"
fi
