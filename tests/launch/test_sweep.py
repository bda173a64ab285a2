"""Sweeps on real launchers: eight jobs of which one diverges and one fails, signals, and going on after both.

`make test-launchers` runs this for every launcher; elsewhere those that are not installed are skipped.
"""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from hydra.core.utils import JobStatus
from omegaconf import OmegaConf
from processes import ENVIRONMENT, LONG, PLUGINS, TINY, held, installed, left_of, start, wait_until

from nngeom_cli.cli.entry import main
from nngeom_cli.config.loader import load_config
from nngeom_cli.errors import ConfigError, DamageError
from nngeom_cli.groups import conf_directory
from nngeom_cli.launch.application import composed
from nngeom_cli.launch.launchers import launched
from nngeom_cli.launch.lost_jobs import lost_jobs_are_results
from nngeom_cli.launch.ray_cluster import refuse_new_cluster
from nngeom_cli.launch.shutdown import STOPPED
from nngeom_cli.store.checksums import sealed
from nngeom_cli.store.run import load_run
from nngeom_cli.store.run_directory import RunDirectory
from nngeom_cli.store.sweep import Job, Sweep, load_sweep
from nngeom_cli.system import process
from nngeom_cli.system.atomic import refuse_links, unshared
from nngeom_cli.system.process import this_process
from nngeom_cli.system.writer import sole_writer

CONTEXT = SimpleNamespace(config_loader=None, callbacks=None)  # Hydra's, of a double


def launchers():
    missing = pytest.mark.skip(reason="not installed: make test-launchers")
    return [pytest.param(name, marks=[] if installed(plugin) else [missing]) for name, plugin in PLUGINS.items()]


def nngeom(*words, folder):
    process = start(*words, folder=folder)
    out, err = process.communicate(timeout=900)
    return process.returncode, out.splitlines(), err.splitlines()


def experiments(folder, good):
    """A user's own folder of configs, without a task: so many good experiments, one that diverges, one that fails."""
    (folder / "experiment").mkdir(parents=True)
    bodies = {f"good{number}": f"seed: {number}\noptimizer: {{epochs: 3}}" for number in range(good)}
    bodies["lost"] = "architecture: {activation: monomial3}\noptimizer: {lr: 1e9, epochs: 30}"
    (folder / "line.csv").write_text("x,y,class\n0,0,a\n1,1,b\n2,2,a\n")  # no plane goes through three of a line
    bodies["broken"] = "defaults:\n  - override /task: csv\n  - override /architecture: moons\n"
    bodies["broken"] += "  - override /optimizer: moons\n  - override /probe: plane\n"
    bodies["broken"] += f"task: {{path: {folder / 'line.csv'}}}\noptimizer: {{epochs: 3, batch_size: null}}\n"
    bodies["broken"] += "probe: {corners: index, triples: [[0, 1, 2]], top_k: 2}"
    for name, body in bodies.items():
        (folder / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{body}\n")
    return list(bodies)


def files(directory):
    """Every file below, with its content and when it was written."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in directory.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", launchers())
def test_sound_jobs_finish_and_resume_touches_only_the_other_two(launcher, tmp_path):
    """More jobs than are done at a time; where each takes a process of its own, as few as that."""
    names = experiments(tmp_path / "own", good=6 if launcher == "basic" else 1)
    *good, lost, broken = range(len(names))
    choice = f"experiment={','.join(names)}"
    words = ["run", "-m", "--config-dir", "own", f"hydra/launcher={launcher}", choice, *TINY]
    code, out, err = nngeom(*words, folder=tmp_path)
    sweep = Path(out[-1])
    assert code == 1
    head, *rows = [line.split() for line in out[-len(names) - 2 : -1]]
    assert head == ["job", "overrides", "status", "accuracy", "directory"]
    assert [row[1] for row in rows] == [f"experiment={name}" for name in names]
    assert [row[2] for row in rows] == ["complete" for _ in good] + ["diverged", "failed"]
    assert all(float(row[3]) >= 0 for row in rows[:lost])  # where all diverged there is no accuracy
    told = [line for line in err if line.startswith("nngeom: Job ")]  # beside how far the sweep is
    assert [line[:14] for line in told] == [f"nngeom: Job {lost} ", f"nngeom: Job {broken} "]
    assert "Lower `optimizer.lr`, which is 1e+09." in told[0]
    log = sweep / rows[broken][-1] / "job.log"
    assert "`probe.triples` must name three inputs that are not on one line." in told[1]
    assert "Traceback (most recent call last)" in log.read_text()

    before = [files(sweep / rows[job][-1]) for job in good]
    code, out, _ = nngeom("resume", str(sweep), folder=tmp_path)
    assert code == 1
    assert [line.split()[2] for line in out[-len(names) - 1 : -1]] == ["complete" for _ in good] + [
        "diverged",
        "failed",
    ]
    assert [files(sweep / rows[job][-1]) for job in good] == before
    assert log.read_text().count("Traceback (most recent call last)") >= 2


def semaphores(*processes):
    """What processes have left in shared memory, which holds their ids in the names."""
    shared = Path("/dev/shm")
    left = [path.name for path in shared.iterdir()] if shared.is_dir() else []
    return [name for name in left if {str(process.pid) for process in processes} & {*re.findall("[0-9]+", name)}]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", launchers())
def test_sigterm_saves_all_jobs_leaves_no_process_and_resume_finishes(launcher, tmp_path):
    sweep = tmp_path / "sweep"
    words = ["seed=0,1,2", f"hydra.sweep.dir={sweep}", f"hydra/launcher={launcher}"]
    process = start("run", "-m", *LONG, *words, folder=tmp_path)
    at_once = 1 if launcher == "basic" else 2
    stopped = held(sweep, process, at_once)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    if launcher == "basic":
        process.send_signal(signal.SIGCONT)  # the only one that is not the sweep's to wake
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.splitlines()[-1].endswith(f" nngeom resume {sweep}")
    assert left_of(family) == []
    assert semaphores(process, *family) == []
    assert {load_run(directory).status for directory in stopped} == {"interrupted"}
    assert {load_sweep(sweep).status(job) for job in load_sweep(sweep).jobs} <= {"interrupted", "not started"}
    reached = {directory: load_run(directory).history.epoch.max() for directory in stopped}
    assert all(0 < epoch < 20000 for epoch in reached.values())

    code, out, err = nngeom("resume", str(sweep), folder=tmp_path)
    assert code == 0, err
    assert [line.split()[2] for line in out[-4:-1]] == ["complete"] * 3
    for directory in stopped:
        assert load_run(directory).info["resumed"][0]["epoch"] >= reached[directory]
    assert not (sweep / STOPPED).exists()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [each for each in launchers() if each.values[0] in ("joblib", "submitit_local")])
def test_no_process_outlives_a_sweep_that_is_killed(launcher, tmp_path):
    """One job is at work, one is over, so that joblib has an idle worker. joblib's end though they are stopped."""
    sweep = tmp_path / "sweep"
    words = ["optimizer.epochs=1,1000000", f"hydra.sweep.dir={sweep}", f"hydra/launcher={launcher}"]
    process = start("run", "-m", *LONG[:-2], "checkpoint_seconds=0.1", *words, folder=tmp_path)
    wait_until((sweep / "sweep.json").exists, process)
    wait_until(lambda: load_sweep(sweep).status(load_sweep(sweep).jobs[0]) == "complete", process)
    (job,) = held(sweep, process).values()
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    if launcher == "submitit_local" or sys.platform != "linux":
        os.kill(job, signal.SIGCONT)
    assert left_of(family) == []
    assert semaphores(process, *family) == []
    assert load_sweep(sweep).status(load_sweep(sweep).jobs[1]) == "interrupted"
    process.communicate()


@pytest.mark.slow
@pytest.mark.skipif(not installed(PLUGINS["submitit_local"]), reason="not installed: make test-launchers")
def test_a_killed_job_costs_no_other(tmp_path):
    """As the kernel does it to one that takes too much memory. joblib and Ray give up on all jobs then."""
    sweep = tmp_path / "sweep"
    words = ["seed=0,1", f"hydra.sweep.dir={sweep}", "hydra/launcher=submitit_local"]
    process = start("run", "-m", *LONG, *words, folder=tmp_path)
    jobs = held(sweep, process, 2)
    os.kill(jobs[sweep / "0-seed=0"], signal.SIGKILL)
    os.kill(jobs[sweep / "1-seed=1"], signal.SIGCONT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert [line.split()[2] for line in out.splitlines()[-3:-1]] == ["interrupted", "complete"]
    assert "nngeom: Job 0 (seed=0): A worker process ended unexpectedly, most likely killed by the system" in err


@pytest.mark.slow
@pytest.mark.skipif(not installed(PLUGINS["submitit_local"]), reason="not installed: make test-launchers")
def test_a_job_that_its_cluster_preempts_is_saved_requeued_and_finished(tmp_path):
    """SIGUSR2 is how SLURM tells a job of its time limit; submitit's local executor requeues as a cluster does."""
    sweep = tmp_path / "sweep"
    words = ["seed=0", f"hydra.sweep.dir={sweep}", "hydra/launcher=submitit_local"]
    process = start("run", "-m", *LONG, *words, folder=tmp_path)
    (pid,) = held(sweep, process).values()
    os.kill(pid, signal.SIGUSR2)
    os.kill(pid, signal.SIGCONT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    run = load_run(sweep / "0-xor-seed0")
    assert run.status == "complete"
    assert [0 < sitting["epoch"] < 20000 for sitting in run.info["resumed"]] == [True]


# ---- without a launcher


def test_a_process_of_a_sweep_learns_once_what_it_ends_with_and_can_be_interrupted_from_then_on(monkeypatch):
    ends_with = []
    monkeypatch.setattr(process, "end_with", ends_with.append)
    monkeypatch.setenv(process.SWEEP_PROCESS, json.dumps(this_process()))
    before = signal.getsignal(signal.SIGTERM)
    try:
        for _ in range(2):
            process.end_with_sweep()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ends_with == [this_process()]


KILLED = "A worker process was killed (SIGKILL), most likely by the system for lack of memory: its arrays alone take "
SEGV = "A worker process was ended by SIGSEGV (Segmentation fault). `nngeom resume "


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ("TerminatedWorkerError: The exit codes of the workers are {SIGKILL(-9)}", KILLED),
        ("TerminatedWorkerError: The exit codes of the workers are {EXIT(0), SIGSEGV(-11)}", SEGV),
        ("UncompletedJobError: no output. Fatal Python error: Segmentation fault Thread 0x7f", SEGV),
        ("UncompletedJobError: no output", "A worker process ended unexpectedly, most likely killed by the system"),
    ],
)
def test_jobs_at_work_when_a_process_was_lost_say_why_and_others_did_not_start(tmp_path, heard, said):
    config = asdict(load_config(composed(["task=xor", "probe.resolution=300"])))
    sweep = Sweep(tmp_path, "joblib", [Job(name, [f"seed={name}"], "", config) for name in "012"])
    gone = this_process() | {"pid": 2**22 + 1}
    for name, status in (("0", "running"), ("1", "failed")):
        (tmp_path / name).mkdir()
        RunDirectory(tmp_path / name).update(status=status, process=gone, error="RunError: its own")

    def lose():
        raise RuntimeError(heard)

    launcher = SimpleNamespace(launch=None, hydra_context=CONTEXT)
    sweeper = SimpleNamespace(launcher=launcher, max_batch_size=None)
    lost, failed, left = launched(sweeper, sweep, sweep.jobs, lose)
    assert (lost.status, failed.status, left.status) == ("interrupted", "failed", "not started")
    assert lost.error.startswith(said)
    assert f"`nngeom resume {tmp_path}` continues it." in lost.error
    assert ("take 69.3 MB, and " in lost.error) == ("for lack of memory" in lost.error)
    assert (failed.error, left.error) == ("It is failed: RunError: its own.", "It is not started.")


def sweep_of(tmp_path, *directories):
    sweep = Sweep(tmp_path, "basic", [Job(name, [f"seed={name}", "dtype=float64"], "", {}) for name in directories])
    sweep.write()
    return sweep


def test_a_sweep_is_read_back_as_it_was_written(tmp_path):
    written = sweep_of(tmp_path, "0-xor", "deep/1-xor")
    assert load_sweep(tmp_path) == written


def test_an_outcome_names_what_distinguishes_a_job(tmp_path):
    sweep = sweep_of(tmp_path, "0", "1")
    outcome = sweep.outcome(sweep.jobs[1])
    assert (outcome.overrides, outcome.status, outcome.accuracy) == ("seed=1", "not started", None)
    assert outcome.error == "It is not started."
    (alone,) = sweep_of(tmp_path, "0").jobs
    assert sweep_of(tmp_path, "0").outcome(alone).overrides == "seed=0 dtype=float64"


@pytest.mark.parametrize(
    "directory", ["../outside", "/tmp/elsewhere", "a/../../b", "${oc.env:HOME}", "", 3, "\ud800", "a\0b", "x" * 5000]
)
def test_a_sweep_whose_jobs_lie_elsewhere_is_refused(tmp_path, directory):
    sweep_of(tmp_path, "0")
    content = json.loads((tmp_path / "sweep.json").read_text())
    content["jobs"][0]["directory"] = directory
    (tmp_path / "sweep.json").write_text(json.dumps(sealed(content)))
    with pytest.raises(DamageError, match="must be what a sweep writes"):
        load_sweep(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '["checksum"]', '"checksum"', '{"launcher": "basic", "jobs": [1]}', '{"jobs": []}', "\x00"]
)
def test_a_damaged_sweep_is_refused_in_one_sentence(tmp_path, text):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(DamageError, match="must be what a sweep writes") as caught:
        load_sweep(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "launcher", ["../../../evil", "/tmp/evil", "a b", "a=b", "", "hydra/x", "basic,joblib", None, 3]
)
def test_a_launcher_that_is_no_plain_name_is_refused(tmp_path, launcher):
    sweep_of(tmp_path, "0")
    content = json.loads((tmp_path / "sweep.json").read_text())
    (tmp_path / "sweep.json").write_text(json.dumps(sealed(content | {"launcher": launcher})))
    with pytest.raises(DamageError, match="must be what a sweep writes"):
        load_sweep(tmp_path)


@pytest.mark.parametrize("launcher", ["mine", "default"])
def test_a_sweep_goes_on_with_no_launcher_but_ours(tmp_path, launcher, capsys):
    Sweep(tmp_path, launcher, [Job("0", [], "", {})]).write()
    (tmp_path / "mine.yaml").write_text("hydra: {job: {env_set: {A: b}}}")
    assert main(["resume", str(tmp_path)]) == 2
    assert "`hydra/launcher` must be basic, joblib, ray, submitit_local or submitit_slurm" in capsys.readouterr().err


# ---- what leads out of a sweep or a run


def test_a_job_that_is_a_link_or_there_twice_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sweep").mkdir()
    (tmp_path / "latest").symlink_to("sweep")
    (tmp_path / "sweep" / "0").symlink_to(tmp_path / "elsewhere")
    for directory in ("0", "0/deep"):
        sweep_of(tmp_path / "sweep", directory)
        with pytest.raises(DamageError, match="must be what a sweep writes"):
            load_sweep(tmp_path / "sweep")
    for again in ("1", "./1", "1/", "1/."):
        sweep_of(tmp_path / "sweep", "1", again)
        with pytest.raises(DamageError, match="two jobs with the same directory"):
            load_sweep(tmp_path / "sweep")
    sweep_of(tmp_path / "sweep", "1")
    assert [job.directory for job in load_sweep(tmp_path / "latest").jobs] == ["1"]


def link(path):
    path.symlink_to("/dev/null")


def dangling(path):
    path.symlink_to("nowhere")


LEADS_OUT = {"link": link, "dangling link": dangling, "pipe": os.mkfifo}


@pytest.mark.parametrize("kind", LEADS_OUT)
@pytest.mark.parametrize("place", ["job.log", ".lock", "checkpoints/epoch-000000.npz", "figures"])
def test_what_leads_out_of_a_run_is_refused_before_anything_is_written(tmp_path, place, kind):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    LEADS_OUT[kind](tmp_path / place)
    with pytest.raises(ConfigError, match=f"`{tmp_path / place}` must be a file or"), sole_writer(tmp_path):
        raise AssertionError
    assert not (tmp_path / ".lock").is_file()


def test_a_folder_of_plain_files_is_its_own_though_a_link_leads_to_it(tmp_path):
    (tmp_path / "run" / "deep").mkdir(parents=True)
    (tmp_path / "run" / "deep" / "file").touch()
    (tmp_path / "latest").symlink_to("run")
    refuse_links(tmp_path / "latest")


def test_a_sweep_with_a_link_does_not_go_on(tmp_path, capsys):
    sweep_of(tmp_path, "0")
    (tmp_path / ".stopped").symlink_to(tmp_path / "made")
    assert main(["resume", str(tmp_path)]) == 2
    assert f"`{tmp_path / '.stopped'}` must be a file or folder itself" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_a_file_with_another_name_is_not_written_in_place(tmp_path):
    """A hard link, as `cp -al` and some backups make them."""
    (tmp_path / "run").mkdir()
    for name in ("job.log", ".lock"):
        (tmp_path / name).write_text("theirs")
        os.link(tmp_path / name, tmp_path / "run" / name)
    with sole_writer(tmp_path / "run"):
        unshared(tmp_path / "run" / "job.log")
        with (tmp_path / "run" / "job.log").open("a") as file:
            file.write(" and ours")
    assert (tmp_path / "job.log").read_text() == (tmp_path / ".lock").read_text() == "theirs"
    assert (tmp_path / "run" / "job.log").read_text() == "theirs and ours"


def test_what_hydra_writes_into_a_sweep_that_goes_on_leaves_a_file_with_another_name_alone(nngeom, runner, tmp_path):
    runner.failures[1] = ZeroDivisionError("oh")
    sweep = Path(nngeom("run", "-m", "seed=0,1")[1][-1])
    theirs = [tmp_path / "multirun.yaml", tmp_path / "job.log"]
    for mine, other in zip([sweep / "multirun.yaml", *sweep.glob("*seed=1/job.log")], theirs, strict=True):
        mine.unlink()
        other.write_text("theirs")
        os.link(other, mine)
    nngeom("resume", sweep)
    assert [other.read_text() for other in theirs] == ["theirs"] * 2
    assert "hydra" in (sweep / "multirun.yaml").read_text()


def test_submitit_opens_no_pickle_that_lay_in_the_sweep(tmp_path):
    """It takes the results of its jobs from files, which it finds by the number of a process."""
    params = {"submitit_folder": str(tmp_path / ".submitit" / "%j")}
    launcher = type("LocalLauncher", (), {"params": params, "launch": None})()
    launcher.hydra_context = CONTEXT
    sweeper = SimpleNamespace(launcher=launcher, max_batch_size=None)
    pytest.importorskip("submitit")
    folders = set()
    for _ in range(2):
        sweep = sweep_of(tmp_path, "0")
        launched(sweeper, sweep, sweep.jobs, lambda: folders.add(params["submitit_folder"]))
    assert len(folders) == 2
    for folder in map(Path, folders):
        assert (folder.name, folder.parent.parent) == ("%j", tmp_path)
        assert list(folder.parent.iterdir()) == []
        assert folder.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("launcher", "waits"), [("submitit_local", 0), ("submitit_slurm", 1)])
def test_the_result_of_a_process_that_was_killed_is_waited_for_on_a_shared_disk_only(launcher, waits, tmp_path):
    """Where submitit finds no file of a result when a job is over, it looks again for 15 seconds."""
    submitit = pytest.importorskip("submitit.core.core", reason="not installed: make test-launchers")
    waited = []
    job = SimpleNamespace(
        paths=SimpleNamespace(folder="there", result_pickle=tmp_path / "none"),
        wait=lambda: None,
        stderr=lambda: "Fatal Python error: Segmentation fault",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(submitit.Job, "results", lambda job: waited.append(job) or ["the result"])
        with lost_jobs_are_results(Sweep(tmp_path, launcher, [])):
            (result,) = submitit.Job.results(job)
    assert len(waited) == waits
    if not waits:
        assert result.status is JobStatus.FAILED
        assert "Segmentation fault" in result._return_value


def ray_launcher(**init):
    """Looks like Ray's, with the init of conf/hydra/launcher/ray.yaml."""
    settings = OmegaConf.load(conf_directory() / "hydra" / "launcher" / "ray.yaml").ray
    config = OmegaConf.create({"hydra": {"overrides": {"hydra": []}}})
    attributes = {"ray_cfg": OmegaConf.merge(settings, {"init": init}), "config": config, "launch": None}
    return type("RayLauncher", (), attributes | {"hydra_context": CONTEXT})()


@pytest.fixture
def ray(monkeypatch):
    """What Ray was started with, by a double that knows no address but `auto`, beside what starts a cluster."""
    inits = []

    def start_ray(init):
        if init.address not in ("local", "auto"):
            raise ConnectionError("Could not find any running Ray instance.\nStart one.")
        inits.append(OmegaConf.to_container(init))

    launching = SimpleNamespace(start_ray=start_ray)
    monkeypatch.setitem(sys.modules, "hydra_plugins.hydra_ray_launcher", SimpleNamespace(_launcher_util=launching))
    monkeypatch.setitem(sys.modules, "hydra_plugins.hydra_ray_launcher._launcher_util", launching)
    return inits


@pytest.mark.parametrize("address", [None, "auto"])
def test_a_cluster_that_is_there_is_not_told_what_only_a_new_one_takes(ray, address, tmp_path):
    sweep, launcher = sweep_of(tmp_path, "0"), ray_launcher(address=address)
    launched(SimpleNamespace(launcher=launcher, max_batch_size=None), sweep, sweep.jobs, lambda: None)
    (init,) = ray
    given = {key for key in ("num_cpus", "object_store_memory") if init[key] is not None}
    assert given == (set() if address else {"num_cpus", "object_store_memory"})
    assert init["address"] == (address or "local")  # None would be whatever cluster was ever started here
    assert init["runtime_env"] == {"env_vars": {"NNGEOM_CORES": "1"}}
    assert launcher.config.hydra.overrides.hydra == [f'hydra.sweep.dir="{tmp_path}"']  # wherever its processes start


def test_a_cluster_that_is_not_there_is_one_sentence(ray, tmp_path):
    sweep = sweep_of(tmp_path, "0")
    sweeper = SimpleNamespace(launcher=ray_launcher(address="10.0.0.1:6379"), max_batch_size=None)
    with pytest.raises(
        ConfigError, match=r"the address of a running Ray cluster\. Got 10\.0\.0\.1:6379: Could not find any"
    ) as refused:
        launched(sweeper, sweep, sweep.jobs, lambda: None)
    assert f"`nngeom resume {tmp_path}` continues the sweep." in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("key", ["num_cpus", "object_store_memory"])
def test_what_only_a_new_cluster_takes_is_refused_with_an_address(key):
    refuse_new_cluster(ray_launcher(**{key: 10**9}))
    refuse_new_cluster(ray_launcher(address="auto"))
    with pytest.raises(ConfigError, match=rf"`hydra\.launcher\.ray\.init\.{key}` must be left out with an address"):
        refuse_new_cluster(ray_launcher(address="auto", **{key: 10**9}))


CLUSTER = """
import sys
from ray.cluster_utils import Cluster
node = {"num_cpus": 1, "object_store_memory": 78643200}
cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
cluster.add_node(**node)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.mark.slow
@pytest.mark.skipif(not installed(PLUGINS["ray"]), reason="not installed: make test-launchers")
def test_a_sweep_runs_on_the_two_nodes_of_a_cluster_that_was_started_elsewhere(tmp_path, monkeypatch):
    for folder in ("head", "work"):
        (tmp_path / folder).mkdir()
    environment = ENVIRONMENT | {"RAY_memory_monitor_refresh_ms": "0"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-c", CLUSTER]
    with subprocess.Popen(command, cwd=tmp_path / "head", env=environment, text=True, **pipes) as cluster:
        try:
            monkeypatch.setitem(ENVIRONMENT, "RAY_ADDRESS", cluster.stdout.readline().strip())
            words = ["hydra/launcher=ray", "hydra.launcher.ray.init.address=auto", "optimizer.epochs=3", *TINY]
            code, out, err = nngeom("run", "-m", *words, "seed=0,1,2,3", folder=tmp_path / "work")
        finally:
            cluster.communicate("")
    assert code == 0, err
    assert [line.split()[2] for line in out[-5:-1]] == ["complete"] * 4
    assert list((tmp_path / "head").iterdir()) == []
