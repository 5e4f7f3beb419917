#!/usr/bin/env bash
# `art train` on nodes of GPUs under SLURM; on the time limit the run is saved, queued again, and
# goes on. From the project's folder, on a disk that all nodes share:
#   sbatch launch/slurm.sh configs/nq/art-t0-3b.yaml [--section.key value …]
# Options of sbatch go before the script, for instance --nodes 1 --partition gpu --account mine.
#SBATCH --job-name=art
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

if [ $# -eq 0 ]; then
  echo "usage: sbatch launch/slurm.sh CONFIG [--section.key value …]" >&2
  exit 2
fi
cd "${SLURM_SUBMIT_DIR:?is not set: start with sbatch}"
task=launch/slurm-task.sh
if [ ! -f "$task" ]; then  # SLURM runs a copy of this file from elsewhere
  echo "error: $PWD: no $task here (submit from the project's folder)" >&2
  exit 2
fi

# Where the processes meet, and a port that other jobs on the node are unlikely to have.
mapfile -t NODES < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
export MASTER_ADDR=${NODES[0]} LAST_NODE=${NODES[-1]}
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))
# Stores, token ids and word indexes are built once; they are large for a home folder.
export ART_CACHE=${ART_CACHE:-$PWD/runs/cache}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}

# The signal of --signal goes to the tasks and not to this shell, for want of a B: before it.
# When a process ends, the others have yet to save or to say why they end; none is killed for it.
status=0
srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=0 --wait=900 \
  bash "$task" train --config "$@" || status=$?

if [ "$status" -eq 75 ]; then  # a signal ended it, and it can go on
  echo "queued again: job $SLURM_JOB_ID"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
