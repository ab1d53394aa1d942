#!/usr/bin/env bash
# Makes a virtual machine the node NAME of the lab: provision.sh NAME
# Vagrant has copied /tmp/lbctl, /tmp/lb.toml and /tmp/lbctl.service before. Nothing else is installed.
set -euo pipefail
name=$1

install -m 0755 /tmp/lbctl /usr/local/bin/lbctl
lbctl --version

start() { # start UNIT: enables it, and starts it anew if it runs already
    systemctl daemon-reload
    systemctl enable --quiet "$1"
    systemctl restart "$1"
}

case $name in
lb*)
    install -d -m 0755 /etc/lbctl
    install -m 0644 /tmp/lb.toml /etc/lbctl/lb.toml
    lbctl check /etc/lbctl/lb.toml
    id -u lbctl >/dev/null 2>&1 || useradd --system --no-create-home lbctl
    sed 's,/usr/bin/lbctl,/usr/local/bin/lbctl,' /tmp/lbctl.service >/etc/systemd/system/lbctl.service
    start lbctl.service
    ;;
web*)
    cat >/etc/systemd/system/lbctl-web.service <<UNIT
[Unit]
Description=Small web server of the lbctl lab
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=/usr/local/bin/lbctl lab web --name $name
Restart=always
RestartSec=1
DynamicUser=yes
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE

[Install]
WantedBy=multi-user.target
UNIT
    start lbctl-web.service
    ;;
client)
    echo 'try: vagrant ssh client -c "wget -qO- http://198.51.100.10/"'
    ;;
esac
