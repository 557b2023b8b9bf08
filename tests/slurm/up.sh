#!/usr/bin/env bash
# A Slurm of one node for tests, started by hand: as root, from Debian's packages, without systemd. usage: up.sh [FOLDER]
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
FOLDER=${1:-/tmp/wavestack-slurm} # short: a path to a socket has at most 107 characters
HOST=$(hostname -s)
CONF=/etc/slurm/slurm.conf # jobs lose SLURM_CONF, so the usual place must lead to ours
PATH=$PATH:/usr/sbin

fail() { echo "no Slurm: $*" >&2; exit 1; }
runs() { [ -s "$FOLDER/$1.pid" ] && kill -0 "$(cat "$FOLDER/$1.pid")" 2>/dev/null; }

[ "$(id -u)" = 0 ] || fail "its daemons are started as root, and this is user $(id -un)"
if [ -e "$CONF" ] && [ "$(readlink "$CONF")" != "$FOLDER/slurm.conf" ]; then fail "$CONF is another cluster's; that one is left alone"; fi

if ! { command -v slurmctld && command -v slurmd && command -v sbatch && command -v munged; } >/dev/null; then
  command -v apt-get >/dev/null || fail "it needs Debian's packages slurmctld, slurmd, slurm-client and munge, and there is no apt-get"
  echo "installing slurmctld, slurmd, slurm-client and munge"
  export DEBIAN_FRONTEND=noninteractive
  said=$(apt-get update -qq 2>&1 && apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge 2>&1) \
    || fail "its packages cannot be installed: $(tail -n 1 <<<"$said")"
fi

mkdir -p "$FOLDER/state" "$FOLDER/spool" /etc/slurm
chmod 755 "$FOLDER"
sed -e "s#@FOLDER@#$FOLDER#g" -e "s#@HOST@#$HOST#g" "$HERE/slurm.conf.in" >"$FOLDER/slurm.conf"
echo "Name=gpu File=/dev/null" >"$FOLDER/gres.conf"
ln -sfn "$FOLDER/slurm.conf" "$CONF"
ln -sfn "$FOLDER/gres.conf" /etc/slurm/gres.conf

# A key and a socket of its own, so that a munge of this machine stays as it is.
[ -s "$FOLDER/munge.key" ] || (umask 077 && head -c 128 /dev/urandom >"$FOLDER/munge.key")
runs munged || munged --force --num-threads=2 --key-file="$FOLDER/munge.key" --socket="$FOLDER/munge.socket" \
  --pid-file="$FOLDER/munged.pid" --log-file="$FOLDER/munged.log" --seed-file="$FOLDER/munged.seed"
runs slurmctld || slurmctld -f "$CONF"
runs slurmd || slurmd -f "$CONF" -N "$HOST"

for _ in $(seq 100); do
  state=$(sinfo --noheader --format=%T 2>/dev/null || true)
  case $state in
    idle | mixed | allocated) echo "Slurm is up: node $HOST is $state; its logs are in $FOLDER" && exit 0 ;;
    down* | drain*) scontrol update nodename="$HOST" state=resume || true ;;
  esac
  sleep 0.1
done
tail -n 5 "$FOLDER"/slurm*.log >&2
fail "the node does not answer; its state is '${state:-unknown}'"
