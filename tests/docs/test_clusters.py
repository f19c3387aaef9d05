"""The programs for Slurm and Kubernetes in docs/clusters.md, as far as they run without a cluster of that kind."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import venv

import pytest

import tiering
from tests.conftest import FIXTURES

ROOT = FIXTURES.parent
PROGRAMS = dict(
    re.findall(
        r'^```python title="(\w+\.py)"\n(.*?)^```', (ROOT / "docs/clusters.md").read_text(), re.DOTALL | re.MULTILINE
    )
)

#: Slurm's commands for a queue that is always empty: a job starts at once, on this machine.
SBATCH = """#!/bin/sh
job=$(mktemp "$(dirname "$0")/job.XXXXXX")
cat "$1" >"$job"  # dask-jobqueue deletes it then
setsid bash "$job" >"$job.log" 2>&1 </dev/null &
echo "Submitted batch job $!"
"""
SCANCEL = '#!/bin/sh\nkill -- "-$1"\n'

#: Checks the arguments of KubeCluster against its signature, and the resource made of them against the operator's schema.
RESOURCE = """
import ast, inspect, pathlib, sys
import dask_kubernetes, jsonschema, yaml
from dask_kubernetes.operator import KubeCluster, make_cluster_spec

calls = [each for each in ast.walk(ast.parse(open(sys.argv[1]).read())) if isinstance(each, ast.Call)]
call = next(each for each in calls if getattr(each.func, "id", "") == "KubeCluster")
given = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
inspect.signature(KubeCluster).bind(**given)
home = pathlib.Path(dask_kubernetes.__file__).parent / "operator/deployment/helm/dask-kubernetes-operator/crds"
version = yaml.safe_load((home / "daskcluster.yaml").read_text())["spec"]["versions"][0]
made = make_cluster_spec(**{"env": {}} | given)
jsonschema.validate(made, version["schema"]["openAPIV3Schema"])
worker = made["spec"]["worker"]
print(made["kind"], version["name"], worker["replicas"], *worker["spec"]["containers"][0]["args"][:3])
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An interpreter with Dask's packages for clusters, which finds those of this environment before its own."""
    home = tmp_path_factory.mktemp("clusters") / "venv"
    venv.create(home, with_pip=True)
    site = next((home / "lib").glob("python3*")) / "site-packages"
    (site / "host.pth").write_text(sysconfig.get_path("purelib"))
    words = [home / "bin/python", "-m", "pip", "install", "-q", "dask-jobqueue==0.9.0", "dask-kubernetes==2026.3.0"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    return home / "bin/python"


def run(python, tmp_path, code, *words, **variables):
    (tmp_path / "program.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    command = [python, "program.py", *words]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_the_program_for_slurm_packs_where_jobs_start_at_once(python, tmp_path):
    (tmp_path / "bin").mkdir()
    for name, script in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "photos").symlink_to(FIXTURES / "images")
    code = PROGRAMS["pack_on_slurm.py"].replace("/shared", str(tmp_path))
    code = code.replace("cores=16", "cores=2").replace("processes=16", "processes=2").replace("jobs=8", "jobs=1")
    run(python, tmp_path, code, PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    with tiering.open_store(tmp_path / "photos.lmdb") as store:
        assert len(store) == 300


@pytest.mark.slow
def test_the_cluster_of_the_program_for_kubernetes_is_one_that_dasks_operator_knows(python, tmp_path):
    (tmp_path / "pack_on_kubernetes.py").write_text(PROGRAMS["pack_on_kubernetes.py"])
    assert run(python, tmp_path, RESOURCE, "pack_on_kubernetes.py") == "DaskCluster v1 32 dask-worker --nthreads 1\n"
