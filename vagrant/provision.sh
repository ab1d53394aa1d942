#!/usr/bin/env bash
# Makes a virtual machine the node NAME of the lab: provision.sh NAME [ADDRESS IN THE FRONT NETWORK]
# Vagrant has copied /tmp/lbctl, /tmp/lb.toml and /tmp/lbctl.service before. Nothing else is installed.
set -euo pipefail
name=$1 front=${2:-}

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
    # The first interface of a Vagrant machine is Vagrant's own: the front network is on another one than in the lab of
    # namespaces, and it may have another name on each node.
    interface=$(ip -o -4 address show | awk -v own="$front/" 'index($4, own) == 1 { print $2; exit }')
    [ -n "$interface" ] || { echo "no interface has $front" >&2; exit 1; }
    sed "s/^interface = .*/interface = \"$interface\"/" /tmp/lb.toml >/etc/lbctl/lb.toml
    lbctl check /etc/lbctl/lb.toml
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
