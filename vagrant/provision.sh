#!/usr/bin/env bash
# Makes a virtual machine the node NAME of the lab: provision.sh NAME DRIVER
# Vagrant has copied /tmp/lbctl.deb and /tmp/lb.toml before. Nothing else is installed.
set -euo pipefail
name=$1 driver=$2

dpkg -i /tmp/lbctl.deb
lbctl --version
# At the first boot udev asks for interfaces that Vagrant has not yet described; it has by now.
systemctl reset-failed 'ifup@*.service' 2>/dev/null || true

start() { # start UNIT: enables it, and starts it anew if it runs already
    systemctl daemon-reload
    systemctl enable --quiet "$1"
    systemctl restart "$1"
}

# The lab's file for machines in software emulation, which stops each of them for hundreds of milliseconds now and then: with
# 100 ms between advertisements the address would move for nothing.
slower() {
    sed -e '/^\[vip\.web\]/a advertisement_interval = "1s"' -e '/^\[global\]/a stall_timeout = "5s"'
}

case $name in
lb*)
    if [ "$driver" = qemu ]; then slow=slower; else slow=cat; fi
    $slow </tmp/lb.toml | install -m 0644 /dev/stdin /etc/lbctl/lb.toml
    lbctl check /etc/lbctl/lb.toml
    start lbctl.service
    ;;
web*)
    cat >/etc/systemd/system/lbctl-web.service <<UNIT
[Unit]
Description=Small web server of the lbctl lab
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=/usr/bin/lbctl lab web --name $name
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
