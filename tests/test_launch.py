"""The files in launch/: what accelerate makes of the settings, and SLURM's script on stubs."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

ROOT = Path(__file__).parents[1]
SETTINGS = sorted((ROOT / "launch").glob("*.yaml"))
SCRIPTS = sorted((ROOT / "launch").glob("*.sh"))


@pytest.mark.parametrize("path", SETTINGS, ids=lambda path: path.stem)
def test_accelerate_starts_what_the_name_of_the_file_says(path) -> None:
    machines, processes, kind = re.fullmatch(r"(?:(\d+)x)?(\d+)(gpu|cpu)", path.stem).groups("1")
    ClusterConfig.from_yaml_file(path)  # it refuses keys that accelerate does not know
    words = ["--config_file", str(path), "-m", "art", "train", "--config", "FILE"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert args.num_machines == int(machines)
    assert args.num_processes == int(machines) * int(processes)
    # What starts several processes, on a CPU too; and nothing that training would refuse.
    assert args.multi_gpu == (args.num_processes > 1)
    assert args.use_cpu == (kind == "cpu")
    assert not (args.use_deepspeed or args.use_fsdp or args.use_megatron_lm)
    assert (args.mixed_precision, args.dynamo_backend) == ("no", "no")
    assert (args.main_process_port == 0) == (args.multi_gpu and args.num_machines == 1)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash_that_shellcheck_has_nothing_against(path) -> None:
    subprocess.run(["bash", "-n", path], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run(["shellcheck", path], check=True)


# Two nodes with one task each. It signals its tasks as SLURM would, and ends with the highest
# status of them.
SRUN = """
while [[ "$1" == --* ]]; do shift; done
for node in 0 1; do
  SLURM_PROCID=$node SLURM_LOCALID=0 SLURM_NTASKS=2 SLURM_NODEID=$node "$@" & tasks[node]=$!
done
for node in 0 1; do until [ -s "$STUBS/said-$node" ]; do sleep 0.01; done; done
[ -z "$SIGNAL" ] || kill -s "$SIGNAL" "${tasks[@]}"
highest=0
for task in "${tasks[@]}"; do
  status=0; wait "$task" || status=$?
  [ "$status" -le "$highest" ] || highest=$status
done
exit "$highest"
"""
SCONTROL = """
case $1 in
  show) printf 'node-1\\nnode-2\\n' ;;
  requeue) echo "$2" >> "$STUBS/requeued" ;;
esac
"""
GETENT = 'case $2 in node-1) echo "10.0.0.1 STREAM" ;; node-2) echo "10.0.0.2 STREAM" ;; esac'
IP = 'echo "$3 dev ib${3##*.} src 10.0.0.9 uid 0"'
# In the place of Python: says what it was told, and ends as `art train` does.
PYTHON = """
trap 'exit 75' USR1
names='RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT OMP_NUM_THREADS GLOO_SOCKET_IFNAME'
for name in $names ART_CACHE; do echo "$name=${!name:-}"; done > "$STUBS/.said-$RANK"
echo "words=$*" >> "$STUBS/.said-$RANK"
mv "$STUBS/.said-$RANK" "$STUBS/said-$RANK"
[ -z "$SIGNAL" ] || for _ in {1..1000}; do sleep 0.01; done
exit "$STATUS"
"""


@pytest.fixture
def submit(tmp_path):
    """Run launch/slurm.sh as the batch shell of a job on two nodes would."""

    def submit(*words: str, signal: str = "", status: int = 0, **environment: str):
        for name in ("srun", "scontrol", "getent", "ip", "python"):
            stub = tmp_path / name
            stub.write_text(f"#!/usr/bin/env bash\n{globals()[name.upper()]}")
            stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
        job = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "STUBS": str(tmp_path),
            "PYTHON": str(tmp_path / "python"),
            "SIGNAL": signal,
            "STATUS": str(status),
            "SLURM_SUBMIT_DIR": str(ROOT),
            "SLURM_JOB_ID": "1234567",
            "SLURM_JOB_NODELIST": "node-[1-2]",
            "SLURM_CPUS_PER_TASK": "12",
        }
        script = tmp_path / "slurm_script"  # SLURM's own copy
        shutil.copy(ROOT / "launch" / "slurm.sh", script)
        done = subprocess.run(
            ["bash", script, *words],
            env=job | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
        )
        said = sorted(tmp_path.glob("said-*"))
        told = [dict(line.split("=", 1) for line in one.read_text().splitlines()) for one in said]
        requeued = tmp_path / "requeued"
        return done, told, requeued.read_text() if requeued.exists() else ""

    return submit


def test_the_time_limit_queues_a_job_again_with_the_same_words(submit) -> None:
    done, told, requeued = submit("run.yaml", "--training.seed", "7", signal="USR1")
    assert (done.returncode, requeued) == (75, "1234567\n"), done
    common = {
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "node-1",
        "MASTER_PORT": "24567",
        "OMP_NUM_THREADS": "12",
        "ART_CACHE": str(ROOT / "runs" / "cache"),
        "words": "-m art train --config run.yaml --training.seed 7",
    }
    # Each node's interface is the one that leads to the other.
    assert told == [
        {**common, "RANK": "0", "GLOO_SOCKET_IFNAME": "ib2"},
        {**common, "RANK": "1", "GLOO_SOCKET_IFNAME": "ib1"},
    ]


@pytest.mark.parametrize("status", [0, 1])
def test_a_job_that_ends_by_itself_is_not_queued_again(status, submit) -> None:
    chosen = {"GLOO_SOCKET_IFNAME": "eth7", "ART_CACHE": "/mine", "OMP_NUM_THREADS": "3"}
    done, told, requeued = submit("run.yaml", status=status, **chosen)
    assert (done.returncode, requeued) == (status, ""), done
    assert all(one.items() >= chosen.items() for one in told)


def test_a_job_submitted_from_elsewhere_is_refused(submit, tmp_path) -> None:
    done, told, _ = submit("run.yaml", SLURM_SUBMIT_DIR=str(tmp_path))
    assert done.returncode == 2 and not told
    assert "submit from the project's folder" in done.stderr


def test_slurm_is_asked_for_a_gpu_a_task_and_a_signal_to_the_tasks() -> None:
    text = (ROOT / "launch" / "slurm.sh").read_text()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", text, re.MULTILINE))
    assert options["ntasks-per-node"] == options["gpus-per-node"]
    assert options["signal"] == "USR1@120"  # B: before it would mean the batch shell alone
    assert "requeue" in options and "gpus-per-task" not in options
