#!/usr/bin/env bash
# Stop what up.sh started, its jobs first, and leave nothing behind. usage: down.sh [FOLDER]
set -euo pipefail
FOLDER=${1:-/tmp/wavestack-slurm}
CONF=/etc/slurm/slurm.conf

[ -d "$FOLDER" ] || { echo "no Slurm in $FOLDER"; exit 0; }
if [ "$(readlink "$CONF")" = "$FOLDER/slurm.conf" ]; then
  timeout 10 scancel --full --signal=KILL --user="$(id -un)" 2>/dev/null || true
fi
for daemon in slurmd slurmctld munged; do
  process=$(cat "$FOLDER/$daemon.pid" 2>/dev/null) || continue
  kill "$process" 2>/dev/null || continue
  for _ in $(seq 100); do kill -0 "$process" 2>/dev/null || break; sleep 0.1; done
done
for file in slurm gres; do
  [ "$(readlink "/etc/slurm/$file.conf")" != "$FOLDER/$file.conf" ] || rm "/etc/slurm/$file.conf"
done
rm -r "$FOLDER"
echo "Slurm is down"
