#!/usr/bin/env bash
# One task of launch/slurm.sh, one GPU: tells `art` what a launcher would. Its words are those of
# `art`. It becomes that process, so that SLURM's signals reach it.
set -euo pipefail

export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS

# gloo takes the interface of the node's own name, often the one that leads nowhere: take the one
# that leads to another node.
if [ -z "${GLOO_SOCKET_IFNAME:-}" ] && [ "$LAST_NODE" != "$MASTER_ADDR" ]; then
  other=$MASTER_ADDR
  [ "$SLURM_NODEID" -ne 0 ] || other=$LAST_NODE
  address=$(getent ahostsv4 "$other" | awk 'NR == 1 { print $1 }') || address=
  interface=$(ip route get "$address" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p') || interface=
  [ -z "$interface" ] || export GLOO_SOCKET_IFNAME=$interface
fi

exec "${PYTHON:-.venv/bin/python}" -m art "$@"
