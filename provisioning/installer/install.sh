#!/bin/sh
# Puts a device's own files in their places and starts its agent. The software has to be in /opt/faultline already
# (see docs/guides/deploy-on-a-pi.md). Run as root, in the directory of the package.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "run as root: sudo $0" >&2; exit 1; }
[ -f /opt/faultline/package.json ] || { echo "the software is not in /opt/faultline" >&2; exit 1; }

id faultline >/dev/null 2>&1 || useradd --system --home-dir /var/lib/faultline --shell /usr/sbin/nologin faultline
install -d -m 0750 -o root -g faultline /etc/faultline
install -d -m 0700 -o faultline -g faultline /var/lib/faultline
install -m 0640 -o root -g faultline "$here/device.yaml" /etc/faultline/device.yaml
install -m 0644 -o faultline -g faultline "$here/ca.pem" /var/lib/faultline/ca.pem
if [ -f "$here/agent.pem" ]; then
  install -m 0644 -o faultline -g faultline "$here/agent.pem" /var/lib/faultline/agent.pem
  install -m 0600 -o faultline -g faultline "$here/agent.key" /var/lib/faultline/agent.key
fi
install -m 0644 "$here/faultline-device-agent.service" /etc/systemd/system/faultline-device-agent.service
systemctl daemon-reload
systemctl enable --now faultline-device-agent.service
echo "faultline-device-agent runs; journalctl -u faultline-device-agent -f shows what it says"
