#!/bin/sh
# Installs, updates and removes the Faultline device agent on a 64-bit Linux with systemd, such as Raspberry Pi OS.
set -eu

software=/opt/faultline
settings=/etc/faultline
state=/var/lib/faultline
unit=faultline-device-agent.service
units=/etc/systemd/system
command=/usr/local/bin/faultline-device

usage() {
  cat <<EOF
Usage: sudo ./install.sh [AGENT.tar.gz]    install, or update what is installed
       sudo ./install.sh --uninstall       remove the software; asks before it deletes data

AGENT.tar.gz is what \`npm run provision -- agent-package\` wrote. It may be left out where it lies beside this
script as agent.tar.gz. device.yaml, ca.pem, agent.pem and agent.key beside this script are put in their places.
EOF
}

say() { printf '%s\n' "$*"; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

check_machine() {
  kernel=$(uname -m)
  bits=$(getconf LONG_BIT)
  packages=$(dpkg --print-architecture 2>/dev/null || echo unknown)
  case "$kernel/$bits" in
    aarch64/64 | x86_64/64) ;;
    aarch64/32)
      fail "this system is 32-bit ($packages) although its kernel is 64-bit ($kernel): the agent's Node.js and engines are 64-bit only." \
        "Write the 64-bit Raspberry Pi OS to the card and run this again." ;;
    armv*)
      fail "this is a 32-bit system ($packages, $kernel): the agent needs the 64-bit Raspberry Pi OS, on a Raspberry Pi 3 or later." ;;
    *) fail "the agent runs on 64-bit ARM (aarch64) and x86-64; this is $kernel with $bits bits" ;;
  esac
  command -v systemctl >/dev/null || fail "there is no systemd here: the agent is kept running by it"
}

need_root() { [ "$(id -u)" -eq 0 ] || fail "this has to be run as root: sudo $0"; }

# The new software is complete and has run before the old one leaves its place.
put_software() {
  rm -rf "$software.new"
  mkdir -p "$software.new"
  tar -xzf "$1" -C "$software.new" --strip-components=1 --no-same-owner || fail "$1 is no agent package, or is damaged"
  [ -f "$software.new/agent.js" ] || fail "$1 is no agent package"
  "$software.new/bin/node" --version >/dev/null 2>&1 || fail "the Node.js of $1 does not run here: is the package for another architecture than $kernel?"
  sha256sum "$1" | cut -c1-64 >"$software.new/package.sha256"
  rm -rf "$software.old"
  [ ! -d "$software" ] || mv "$software" "$software.old"
  mv "$software.new" "$software"
  # What is installed by hand counts more than what came over the broker.
  rm -rf "$state/software"
  rm -rf "$software.old"
}

put_settings() {
  install -d -m 0750 -o root -g faultline "$settings"
  install -d -m 0700 -o faultline -g faultline "$state"
  if [ -f "$here/device.yaml" ]; then
    if [ -f "$settings/device.yaml" ] && ! cmp -s "$here/device.yaml" "$settings/device.yaml"; then
      cp -p "$settings/device.yaml" "$settings/device.yaml.before"
      say "the configuration there was is now $settings/device.yaml.before"
    fi
    install -m 0640 -o root -g faultline "$here/device.yaml" "$settings/device.yaml"
  fi
  if [ -f "$here/ca.pem" ]; then install -m 0644 -o faultline -g faultline "$here/ca.pem" "$state/ca.pem"; fi
  if [ -f "$here/agent.key" ]; then
    install -m 0644 -o faultline -g faultline "$here/agent.pem" "$state/agent.pem"
    install -m 0600 -o faultline -g faultline "$here/agent.key" "$state/agent.key"
  fi
}

put_unit() {
  version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
  install -m 0644 "$software/$unit" "$units/$unit"
  [ "${version:-0}" -ge 254 ] || sed -i '/^RestartSteps=/d; /^RestartMaxDelaySec=/d' "$units/$unit"
  install -d /usr/local/bin
  printf '#!/bin/sh\nexec %s/bin/node --disable-warning=ExperimentalWarning %s/faultline-device.js "$@"\n' "$software" "$software" >"$command"
  chmod 0755 "$command"
  systemctl daemon-reload
  systemctl enable --quiet "$unit"
}

install_agent() {
  archive=${1:-$here/agent.tar.gz}
  check_machine
  need_root
  [ -f "$archive" ] || fail "there is no $archive: name the agent package, as in sudo $0 faultline-agent-VERSION-linux-arm64.tar.gz"
  [ -f "$here/device.yaml" ] || [ -f "$settings/device.yaml" ] ||
    fail "there is no device.yaml beside $0: unpack the package of this device and run its install.sh"
  id faultline >/dev/null 2>&1 || useradd --system --user-group --home-dir "$state" --no-create-home --shell /usr/sbin/nologin faultline
  put_software "$archive"
  put_settings
  put_unit
  systemctl restart "$unit" || fail "the agent is installed, but did not start: faultline-device logs"
  say "the agent is installed and runs; see faultline-device status, logs, diagnose"
}

uninstall_agent() {
  need_root
  systemctl disable --now --quiet "$unit" 2>/dev/null || true
  rm -f "$units/$unit" "$command"
  rm -rf "$units/$unit.d" "$software" "$software.new" "$software.old"
  systemctl daemon-reload
  say "the software is removed"
  [ -d "$state" ] || [ -d "$settings" ] || return 0
  say "$state and $settings are left: what was not sent yet, what was learned, the certificate, the configuration."
  answer=no
  if [ -t 0 ]; then
    printf 'Delete them, and the user faultline? Nothing brings them back. [yes/NO] '
    read -r answer || answer=no
  fi
  if [ "$answer" = yes ]; then
    rm -rf "$state" "$settings"
    userdel faultline 2>/dev/null || true
    say "deleted"
  else
    say "kept; to delete them: sudo rm -r $state $settings && sudo userdel faultline"
  fi
}

# Read as a whole before anything is done: the directory of this script may be replaced meanwhile.
main() {
  here=$(cd "$(dirname "$0")" && pwd)
  case "${1:-}" in
    -h | --help) usage ;;
    --uninstall) uninstall_agent ;;
    -*)
      usage >&2
      exit 2
      ;;
    *) install_agent "$@" ;;
  esac
}

main "$@"
exit
