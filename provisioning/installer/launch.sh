#!/bin/sh
# Starts the device agent in the version that an update made current, or else in that of the installer beside this script.
# While a version is on probation (`trial`) its starts are counted: with the fourth, or where its Node.js does not run, the one
# before is started again. The agent cannot change this script.
set -u

base=$(cd "$(dirname "$0")" && pwd)
# systemd gives the directory of the state, which the agent owns.
software=${STATE_DIRECTORY:-/var/lib/faultline}/software
most_starts=3

# `trial` stays until the link is undone: with a full card, say, the next start tries again.
go_back() {
  basename "$(readlink "$software/current")" >"$software/fell-back"
  if [ -L "$software/previous" ]; then
    rm -f "$software/current.back"
    cp -P "$software/previous" "$software/current.back" && mv -T "$software/current.back" "$software/current"
  else
    rm -f "$software/current"
  fi || return
  sync "$software"
  rm -f "$software/trial"
  sync "$software"
}

# On the disk before the agent is started: a start that ends in a power cut counts, too.
count_start() {
  starts=$(cat "$software/trial")
  case "$starts" in '' | *[!0-9]*) starts=0 ;; esac
  [ "$starts" -lt "$most_starts" ] || return 1
  echo $((starts + 1)) >"$software/trial.new" && sync "$software/trial.new" && mv "$software/trial.new" "$software/trial"
}

if [ -L "$software/current" ] && [ -f "$software/trial" ]; then
  { "$software/current/bin/node" --version >/dev/null 2>&1 && count_start; } || go_back
fi
directory=$base
if [ -f "$software/current/agent.js" ]; then directory=$(cd -P "$software/current" && pwd); fi

# Less memory for the same work: young objects get 2 MB instead of 16, and the compiler prefers small code.
AGENT_DIRECTORY=$directory AGENT_SOFTWARE=$software exec "$directory/bin/node" \
  --max-semi-space-size=2 --optimize-for-size --disable-warning=ExperimentalWarning "$directory/agent.js" "$@"
