"""The start state of the manager's stores, in the manager's own formats.

    seed.py toml ERA STATE IPC ETCD PG API MONITOR WEBUI INTERNAL   manager.toml
    seed.py etcd ERA STATE HUB REDIS                                  {key: value}
    seed.py sql  ERA STATE HUB < columns.json                         INSERTs

`columns.json` is {table: [column]} of the schema that the real manager made:
a row names the columns of all eras, and only those that exist are written.
"""
import json
import os
import sys
from urllib.parse import quote

OLD, DECOY, NEW = "index.docker.io", "index.docker.io.mirror.corp", "cr.backend.ai"
ADMIN, GROUP = "00000000-0000-4000-c000-000000000001", "00000000-0000-4000-d000-000000000001"
ACCESS_KEY = "AKIALABSUPERADMIN001"
KERNEL, SESSION = "00000000-0000-4000-a000-00000000000%d", "00000000-0000-4000-b000-00000000000%d"
REGISTRY_ID = {OLD: "00000000-0000-4000-e000-000000000001", DECOY: "00000000-0000-4000-e000-000000000002"}

# number, session name, agent, image, status; the containers are in engines.sh
SESSIONS = [
    (1, "train-mnist", "gpu-1", "lablup/python:3.6-ubuntu18.04", "RUNNING"),
    (2, "notebook-lee", "gpu-1", "lablup/python-tensorflow:2.3-py36-cuda10.1", "RUNNING"),
    (3, "stats-park", "gpu-2", "lablup/r-base:4.0-ubuntu18.04", "RUNNING"),
    (4, "batch-choi", "gpu-3", "lablup/python-tensorflow:2.3-py36-cuda10.1", "RUNNING"),
    (5, "done-long-ago", "gpu-2", "lablup/python:3.8-ubuntu18.04", "TERMINATED"),
]
DOMAINS = {
    "default": [OLD],
    "research": [OLD, "registry.example.com:5000"],
    "kept": ["registry.example.com:5000"],
    "mirrored": [DECOY, OLD],
}
ALIASES = {
    "python": "lablup/python:3.6-ubuntu18.04",
    "python:3.6": "lablup/python:3.6-ubuntu18.04",
    "tf": "lablup/python-tensorflow:2.3-py36-cuda10.1",
    "our-lab": "lablup/custom-lab:1.0",
}


def read(path):
    with open(path) as file:
        return file.read().rstrip("\n")


def catalog(state):
    return json.loads(read(os.path.join(state, "catalog.json")))


def known_images(state):
    """(registry, name, tag, architecture, entry) of all images the manager knows at the start."""
    for reference, entry in catalog(state)["hub"].items():
        name, tag = reference.split(":")
        yield OLD, name, tag, "x86_64", entry
    arm = dict(catalog(state)["hub"]["lablup/python:3.6-ubuntu18.04"], config_digest="sha256:" + "a64" * 21 + "f")
    yield OLD, "lablup/python", "3.6-ubuntu18.04", "aarch64", arm
    yield DECOY, "lablup/python", "3.6-ubuntu18.04", "x86_64", dict(arm, config_digest="sha256:" + "dec0" * 16)


def minimums(labels):
    start = "ai.backend.resource.min."
    return {key[len(start):]: value for key, value in labels.items() if key.startswith(start)}


# ---- manager.toml ---------------------------------------------------------
def toml(era, state, ipc, etcd, pg, api, monitor, webui, internal):
    text = lambda value: json.dumps(value)        # a JSON string is a TOML string
    print(f"""[etcd]
namespace = "local"
addr = {{ host = "127.0.0.1", port = {etcd} }}
user = ""
password = ""

[db]
type = "postgresql"
addr = {{ host = "127.0.0.1", port = {pg} }}
name = "backend"
user = "backend"
password = {text(read(state + "/secrets/pg"))}

[manager]
num-proc = 1
id = "i-mgr-01"
ipc-base-path = {text(ipc)}
service-addr = {{ host = "127.0.0.1", port = {api} }}
ssl-enabled = false
heartbeat-timeout = 30.0
rpc-auth-manager-keypair = {text(state + "/manager/manager.key_secret")}""")
    if era != "20.09":
        print(f"aiomonitor-port = {monitor}\naiomonitor-webui-port = {webui}")
    if era == "25.5":
        print(f'internal-addr = {{ host = "127.0.0.1", port = {internal} }}')
    print("""
[docker-registry]
ssl-verify = false

[logging]
level = "INFO"
drivers = ["console"]

[logging.pkg-ns]
"" = "WARNING"
"ai.backend" = "INFO"

[logging.console]
colored = false
format = "verbose"

[debug]
enabled = false""")


# ---- etcd -----------------------------------------------------------------
def etcd(era, state, hub, redis):
    keys = {
        "config/docker/image/auto_pull": "digest",
        "config/redis/addr": f"127.0.0.1:{redis}",
        "volumes/_types/user": "",
        "volumes/default_host": "local:volume1",          # nobody answers there; the server only wants it named
        "volumes/proxies/local/client_api": "http://127.0.0.1:1",
        "volumes/proxies/local/manager_api": "http://127.0.0.1:1",
        "volumes/proxies/local/secret": "lab",
        "volumes/proxies/local/ssl_verify": "false",
    }
    if era != "25.5":                     # from 24.09 on registries are rows in PostgreSQL
        keys[f"config/docker/registry/{OLD}"] = f"http://127.0.0.1:{hub}"
        keys[f"config/docker/registry/{OLD}/username"] = "lablup"
        keys[f"config/docker/registry/{DECOY}"] = f"http://127.0.0.1:{hub}"
        keys[f"config/docker/registry/{DECOY}/username"] = "lablup"
    if era == "20.09":                    # before 22.03 images and aliases are keys in etcd
        for registry, name, tag, architecture, entry in known_images(state):
            if architecture != "x86_64":
                continue
            at = f"images/{registry}/{quote(name, safe='')}"
            keys[at] = "1"
            at += "/" + tag
            keys[at] = entry["config_digest"]
            keys[at + "/size_bytes"] = str(entry["size_bytes"])
            for label, value in entry["labels"].items():
                keys[f"{at}/labels/{label}"] = value
            if "ai.backend.accelerators" in entry["labels"]:
                keys[at + "/accels"] = entry["labels"]["ai.backend.accelerators"]
            for slot, value in minimums(entry["labels"]).items():
                keys[f"{at}/resource/{slot}/min"] = value
        for alias, target in ALIASES.items():
            # One without its registry, as people type it; the CLI takes anything.
            full = target if alias == "tf" else f"{OLD}/{target}"
            keys["images/_aliases/" + quote(alias, safe="")] = full
        keys["images/_aliases/nowhere"] = f"{OLD}/lablup/gone:1.0"
    json.dump({"/sorna/local/" + key: value for key, value in keys.items()}, sys.stdout)


# ---- PostgreSQL -----------------------------------------------------------
def literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, (bool, int)):
        return str(value).lower()
    if isinstance(value, list):
        value = "{" + ",".join(json.dumps(item) for item in value) + "}"
    elif isinstance(value, dict):
        value = json.dumps(value)
    return "'" + value.replace("'", "''") + "'"


def sql(era, state, hub):
    columns = json.load(sys.stdin)

    def row(table, **values):
        kept = {key: value for key, value in values.items() if key in columns.get(table, ())}
        if table in columns:
            names = ", ".join(f'"{key}"' for key in kept)
            print(f"INSERT INTO {table} ({names}) VALUES ({', '.join(literal(v) for v in kept.values())});")

    slots = {"cpu": "1", "mem": "67108864"}
    for name, registries in DOMAINS.items():
        row("domains", name=name, description="lab", is_active=True, total_resource_slots={},
            allowed_vfolder_hosts={}, allowed_docker_registries=registries, dotfiles="\\x90")
    row("scaling_groups", name="default", description="lab", is_active=True, is_public=True, driver="static",
        driver_opts={}, scheduler="fifo", use_host_network=False, scheduler_opts={})
    row("keypair_resource_policies", name="default", default_for_unspecified="UNLIMITED", total_resource_slots={},
        max_session_lifetime=0, max_concurrent_sessions=30, max_concurrent_sftp_sessions=5,
        max_containers_per_session=1, max_vfolder_count=10, max_vfolder_size=0, idle_timeout=0, allowed_vfolder_hosts={})
    row("user_resource_policies", name="default", max_vfolder_size=-1, max_vfolder_count=0, max_quota_scope_size=-1,
        max_session_count_per_model_session=10, max_customized_image_count=3)
    row("project_resource_policies", name="default", max_vfolder_size=-1, max_vfolder_count=0,
        max_quota_scope_size=-1, max_network_count=3)
    row("groups", id=GROUP, name="default", description="lab", is_active=True, domain_name="default",
        total_resource_slots={}, allowed_vfolder_hosts={}, dotfiles="\\x90", resource_policy="default", type="general")
    row("users", uuid=ADMIN, username="admin", email="admin@lab.local", need_password_change=False, full_name="Lab Admin",
        status="active", domain_name="default", role="superadmin", resource_policy="default", totp_activated=False,
        sudo_session_enabled=False)
    row("keypairs", user_id="admin@lab.local", access_key=ACCESS_KEY, secret_key=read(state + "/secrets/api"),
        is_active=True, is_admin=True, concurrency_used=4, rate_limit=30000, num_queries=0, user=ADMIN,
        resource_policy="default", dotfiles="\\x90", bootstrap_script="")
    if "main_access_key" in columns["users"]:
        print(f"UPDATE users SET main_access_key = '{ACCESS_KEY}';")
    row("association_groups_users", user_id=ADMIN, group_id=GROUP)
    for name in DOMAINS:
        row("sgroups_for_domains", scaling_group="default", domain=name)
    row("resource_presets", name="small", resource_slots=slots, shared_memory=None)
    for number in (1, 2, 3):
        row("agents", id=f"i-gpu-{number}", status="ALIVE", region="local", scaling_group="default", schedulable=True,
            available_slots={"cpu": "8", "mem": "17179869184"}, occupied_slots=slots, addr=f"tcp://127.0.0.1:{6000 + number}",
            version={"20.09": "20.9.0b2", "23.09": "23.9.10", "25.5": "25.5.2"}[era], architecture="x86_64",
            compute_plugins={}, clusterized=False, auto_terminate_abusing_kernel=False)

    for name, registry_id in REGISTRY_ID.items():
        row("container_registries", id=registry_id, url=f"http://127.0.0.1:{hub}", registry_name=name, type="docker",
            project="lablup", username="lablup")
    for number, (registry, name, tag, architecture, entry) in enumerate(known_images(state), 1):
        row("images", id=f"00000000-0000-4000-f000-{number:012d}", name=f"{registry}/{name}:{tag}", image=name,
            project="lablup", tag=tag, registry=registry, registry_id=REGISTRY_ID[registry], architecture=architecture,
            config_digest=entry["config_digest"], size_bytes=entry["size_bytes"], is_local=False, type="COMPUTE",
            accelerators=entry["labels"].get("ai.backend.accelerators"), labels=entry["labels"],
            resources={slot: {"min": value, "max": None} for slot, value in minimums(entry["labels"]).items()})
    if "image_aliases" in columns:
        for alias, target in ALIASES.items():
            print(f"INSERT INTO image_aliases (alias, image) SELECT '{alias}', id FROM images"
                  f" WHERE name = '{OLD}/{target}' AND architecture = 'x86_64';")

    for number, name, engine, image, status in SESSIONS:
        kernel, session, over = KERNEL % number, SESSION % number, status == "TERMINATED"
        times = dict(created_at="2021-02-28 09:00:00+00", starts_at="2021-02-28 09:00:10+00",
                     status_changed="2021-02-28 18:00:00+00" if over else "2021-02-28 09:00:10+00",
                     terminated_at="2021-02-28 18:00:00+00" if over else None)
        shared = dict(session_type="INTERACTIVE", cluster_mode="SINGLE_NODE", cluster_size=1, domain_name="default",
                      group_id=GROUP, user_uuid=ADMIN, access_key=ACCESS_KEY, requested_slots=slots, use_host_network=False,
                      status=status, status_info="user-requested" if over else "", status_data={}, status_history={},
                      result="UNDEFINED", num_queries=0, environ=[], priority=10, **times)
        row("sessions", **{**shared, "id": session, "creation_id": f"lab{number}", "name": name, "environ": {},
                           "agent_ids": [f"i-{engine}"], "scaling_group_name": "default",
                           "target_sgroup_names": [], "images": [f"{OLD}/{image}"], "occupying_slots": {} if over else slots})
        row("kernels", **{**shared, "id": kernel, "session_id": session, "session_creation_id": f"lab{number}",
                          "session_name": name, "cluster_role": "main", "cluster_idx": 1, "local_rank": 0,
                          "cluster_hostname": "main1", "scaling_group": "default", "agent": f"i-{engine}",
                          "agent_addr": f"tcp://127.0.0.1:600{engine[-1]}", "image": f"{OLD}/{image}", "architecture": "x86_64",
                          "registry": OLD, "occupied_slots": {} if over else slots, "occupied_shares": {}, "mounts": [],
                          "attached_devices": {}, "resource_opts": {}, "kernel_host": "127.0.0.1", "repl_in_port": 0,
                          "repl_out_port": 0, "stdin_port": 0, "stdout_port": 0, "service_ports": {}, "role": "COMPUTE"})
    row("session_templates", id="00000000-0000-4000-9000-000000000001", is_active=True, domain_name="default",
        group_id=GROUP, user_uuid=ADMIN, type="TASK", name="course-2021", created_at="2021-01-01 00:00:00+00",
        template={"api_version": "6", "kind": "taskTemplate", "metadata": {"name": "course-2021", "tag": None},
                  "spec": {"session_type": "interactive", "scaling_group": "default", "mounts": {}, "resources": slots,
                           "kernel": {"image": "lablup/python:3.6-ubuntu18.04", "architecture": "x86_64", "environ": {},
                                      "run": None, "git": None}}})


{"toml": toml, "etcd": etcd, "sql": sql}[sys.argv[1]](*sys.argv[2:])
