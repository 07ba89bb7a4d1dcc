"""What the pods run, with what, and how they start and stop."""

import warnings
from typing import Any

import pytest
import typer.main
import yaml

from serving.cli.main import build_app
from serving.process import ray_leave
from serving.process.ray_environment import container_environment
from tests.helm import worlds
from tests.helm.charts import Manifest, containers, merged, of_kind, only, pod_templates, render

with warnings.catch_warnings():
    # What Ray warns of while it is imported is not ours to mend.
    warnings.simplefilter("ignore")
    from serving.kubernetes import parse_arguments

_EVERYTHING = ("standalone-everything", "deployment-everything", "rayservice-everything")


def _environment(container: Manifest) -> dict[str, Any]:
    """Name to text, or to where it comes from."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


def _pod(manifests: list[Manifest], label: str) -> Manifest:
    spec: Manifest = dict(pod_templates(manifests))[label]["spec"]
    return spec


def _own(manifests: list[Manifest]) -> list[tuple[str, Manifest]]:
    """The containers that run the gateway's image."""
    return [
        (label, container)
        for label, pod in pod_templates(manifests)
        for container in containers(pod)
        if "/loraplex:" in container["image"]
    ]


@pytest.mark.parametrize("name", _EVERYTHING)
def test_every_command_of_a_pod_is_one_of_the_program(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAPLEX_CONFIG", "/etc/loraplex/config.yaml")
    for label, container in _own(worlds.world(name)):
        if "args" not in container:
            assert label.startswith("RayService/")  # KubeRay starts Ray there
            continue
        command: Any = typer.main.get_command(build_app())
        arguments = list(container["args"])
        while hasattr(command, "commands"):
            command = command.commands[arguments.pop(0)]
        context = command.make_context("loraplex", arguments, resilient_parsing=False)
        assert context is not None


@pytest.mark.parametrize("name", worlds.names())
def test_every_environment_names_each_variable_once(name: str) -> None:
    for label, container in _own(worlds.world(name)):
        names = [entry["name"] for entry in container.get("env", [])]

        assert sorted(names) == sorted(set(names)), label


def test_migrations_have_the_certificates_that_the_databases_address_names_and_no_claim() -> None:
    mounts = [{"name": "ca", "mountPath": "/etc/pg", "readOnly": True}, {"name": "jobs", "mountPath": "/shared"}]
    volumes = [
        {"name": "ca", "configMap": {"name": "ca"}},
        {"name": "jobs", "persistentVolumeClaim": {"claimName": "j"}},
    ]
    values = merged(worlds.WORLDS["deployment"], {"extraVolumes": volumes, "extraVolumeMounts": mounts})
    pod = _pod(render(values), "Job/trial-loraplex-migrations")
    (container,) = pod["containers"]

    assert mounts[0] in container["volumeMounts"]
    assert mounts[1] not in container["volumeMounts"]
    assert volumes[0] in pod["volumes"]
    assert volumes[1] not in pod["volumes"]


@pytest.mark.parametrize("name", ["rayservice", "rayservice-everything", "example-several-nodes"])
def test_every_node_of_a_ray_cluster_is_the_same_to_the_cloud(name: str) -> None:
    # Control and knowledge may run on the head: they read the object store by the identity of its pod.
    accounts = {
        label: template["spec"].get("serviceAccountName")
        for label, template in pod_templates(worlds.world(name))
        if label.startswith("RayService/")
    }

    assert len(accounts) >= 2
    assert set(accounts.values()) == {"trial-loraplex"}, accounts


def test_kuberay_makes_the_heads_identity_where_nobody_else_has() -> None:
    values = merged(
        worlds.WORLDS["rayservice"], {"serviceAccount": {"create": False}, "ray": {"autoscaler": {"enabled": True}}}
    )
    spec = only(render(values), "RayService")["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]

    assert "serviceAccountName" not in spec


def test_a_gateway_has_more_time_to_stop_than_its_streams_to_end() -> None:
    values = merged(worlds.WORLDS["deployment"], {"gateway": {"drainSeconds": 240, "preStopSeconds": 20}})
    manifests = render(values)
    pod = _pod(manifests, "Deployment/trial-loraplex-gateway")
    config = yaml.safe_load(only(manifests, "ConfigMap", "trial-loraplex-config")["data"]["config.yaml"])
    (gateway,) = pod["containers"]

    assert gateway["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "20"]
    assert config["server"]["drain_timeout_s"] == 240
    assert pod["terminationGracePeriodSeconds"] > 20 + 240


def test_a_new_gateway_is_ready_before_an_old_one_goes() -> None:
    spec = only(worlds.world("deployment"), "Deployment", "trial-loraplex-gateway")["spec"]

    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert spec["progressDeadlineSeconds"] > 1800


@pytest.mark.parametrize("name", ["standalone", "deployment", "deployment-everything"])
def test_weights_have_as_long_to_load_as_the_values_say(name: str) -> None:
    values = merged(worlds.values(name), {"gateway": {"startupSeconds": 3601}})
    for label, pod in pod_templates(render(values)):
        if label.endswith("/trial-loraplex-gateway"):
            probe = pod["spec"]["containers"][0]["startupProbe"]
            assert 3601 <= probe["periodSeconds"] * probe["failureThreshold"] < 3611


def test_the_probes_ask_for_what_the_gateway_answers_without_a_key() -> None:
    (gateway,) = _pod(worlds.world("deployment"), "Deployment/trial-loraplex-gateway")["containers"]
    paths = {kind: gateway[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}

    assert paths == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/healthz"}


@pytest.mark.parametrize("name", ["deployment", "rayservice"])
def test_a_gpu_is_requested_and_limited_under_the_name_that_the_cluster_has_for_it(name: str) -> None:
    values = merged(worlds.WORLDS[name], {"gateway": {"gpus": 2, "gpuResource": "nvidia.com/mig-3g.40gb"}})
    label = "RayService/trial-loraplex/gpu" if name == "rayservice" else "Deployment/trial-loraplex-gateway"
    manifests = render(values)
    resources = _pod(manifests, label)["containers"][0]["resources"]

    assert resources["limits"]["nvidia.com/mig-3g.40gb"] == resources["requests"]["nvidia.com/mig-3g.40gb"] == 2
    assert "nvidia.com/gpu" not in resources["limits"]
    if name == "rayservice":
        spec = only(manifests, "RayService")["spec"]
        assert spec["rayClusterConfig"]["workerGroupSpecs"][0]["rayStartParams"]["num-gpus"] == "2"
        assert "gpus_per_replica: 2\n" in spec["serveConfigV2"]


def test_no_gpu_is_asked_for_where_there_is_none() -> None:
    (gateway,) = _pod(worlds.world("example-cpu-trial"), "StatefulSet/trial-loraplex-gateway")["containers"]

    assert gateway["image"].endswith("-cpu")
    assert gateway["resources"]["limits"].keys() == {"memory"}


def test_secrets_come_by_reference_into_the_processes_that_need_them() -> None:
    values = merged(
        worlds.WORLDS["deployment-everything"],
        {
            "objectStore": {"existingSecret": {"name": "s3"}},
            "secrets": {"env": {"HF_TOKEN": {"name": "hub", "key": "t"}}},
        },
    )
    (control,) = _pod(render(values), "Deployment/trial-loraplex-control")["containers"]

    assert _environment(control) | {
        "AWS_ACCESS_KEY_ID": {"secretKeyRef": {"name": "s3", "key": "AWS_ACCESS_KEY_ID"}},
        "AWS_SECRET_ACCESS_KEY": {"secretKeyRef": {"name": "s3", "key": "AWS_SECRET_ACCESS_KEY"}},
        "HF_TOKEN": {"secretKeyRef": {"name": "hub", "key": "t"}},
        "LORAPLEX_METRICS_TOKEN": {"secretKeyRef": {"name": "scrapers", "key": "token"}},
        "LORAPLEX_SERVICE_TOKEN": {"secretKeyRef": {"name": "trial-loraplex-generated", "key": "service-token"}},
        "PGPASSWORD": {"secretKeyRef": {"name": "trial-loraplex-generated", "key": "postgresql-password"}},
    } == _environment(control)


def test_a_variable_of_ones_own_wins_over_the_charts() -> None:
    values = merged(
        worlds.WORLDS["deployment"],
        {
            "extraEnv": {"HF_HOME": "/models/hub", "A": "all"},
            "gateway": {"env": {"A": "gateway"}},
            "secrets": {"env": {"B": {"name": "b", "key": "k"}}},
        },
    )
    manifests = render(merged(values, {"extraEnv": {"B": "plain"}}))
    gateway, control = (
        _environment(_pod(manifests, f"Deployment/trial-loraplex-{part}")["containers"][0])
        for part in ("gateway", "control")
    )

    assert (gateway["HF_HOME"], gateway["A"], control["A"]) == ("/models/hub", "gateway", "all")
    assert gateway["B"] == {"secretKeyRef": {"name": "b", "key": "k"}}


def test_gateways_of_a_deployment_tell_each_other_who_and_where_they_are() -> None:
    (gateway,) = _pod(worlds.world("deployment"), "Deployment/trial-loraplex-gateway")["containers"]
    environment = _environment(gateway)

    assert environment["LORAPLEX_REPLICA"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert environment["LORAPLEX_PEER_HOST"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert environment["LORAPLEX_PEER_PORT"] == "8001"


@pytest.mark.parametrize("timeout_s", [600.0, 1234.5])
def test_ray_containers_have_the_environment_that_the_gateway_needs_there(timeout_s: float) -> None:
    values = merged(worlds.WORLDS["rayservice"], {"config": {"server": {"request_timeout_s": timeout_s}}})
    manifests = render(values)
    serve = yaml.safe_load(only(manifests, "RayService")["spec"]["serveConfigV2"])
    config = parse_arguments(serve["applications"][0]["args"]).gateway_config()
    needed = container_environment(config)

    assert config.server.request_timeout_s == timeout_s
    for part in ("head", "gpu"):
        (container,) = _pod(manifests, f"RayService/trial-loraplex/{part}")["containers"]
        assert needed.items() <= _environment(container).items()


def test_air_gapped_pods_reach_for_no_hub_and_no_public_registry() -> None:
    manifests = worlds.world("example-air-gapped")

    for _, container in _own(manifests):
        if container.get("args", ["serve"])[0] == "serve":
            assert _environment(container)["HF_HUB_OFFLINE"] == "1"
            assert _environment(container)["TRANSFORMERS_OFFLINE"] == "1"
    images = {container["image"] for _, pod in pod_templates(manifests) for container in containers(pod)}
    assert len(images) > 1
    assert all(image.startswith("registry.example.internal/mirror/") for image in images)


def test_the_models_of_a_claim_are_mounted_read_only() -> None:
    (gateway,) = _pod(worlds.world("example-air-gapped"), "Deployment/trial-loraplex-gateway")["containers"]

    assert {"name": "models", "mountPath": "/models", "readOnly": True} in gateway["volumeMounts"]


def test_the_schema_is_brought_up_to_date_before_pods_of_a_new_version_start() -> None:
    manifests = worlds.world("deployment")
    job = only(manifests, "Job", "trial-loraplex-migrations")
    copy = only(manifests, "ConfigMap", "trial-loraplex-migrations")
    hooks = [item["metadata"]["annotations"] for item in (copy, job)]

    assert {hook["helm.sh/hook"] for hook in hooks} == {"pre-install,pre-upgrade"}
    assert int(hooks[0]["helm.sh/hook-weight"]) < int(hooks[1]["helm.sh/hook-weight"])
    assert copy["data"] == only(manifests, "ConfigMap", "trial-loraplex-config")["data"]
    # Nothing that it needs is made by the release, which does not exist yet.
    spec = job["spec"]["template"]["spec"]
    assert "serviceAccountName" not in spec
    assert {volume.get("configMap", {}).get("name") for volume in spec["volumes"]} == {copy["metadata"]["name"], None}


def test_with_the_bundled_database_pods_wait_for_it_and_the_hook_runs_at_upgrades_alone() -> None:
    manifests = worlds.world("deployment-everything")
    job = only(manifests, "Job", "trial-loraplex-migrations")

    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    for part in ("gateway", "control", "knowledge"):
        (first,) = _pod(manifests, f"Deployment/trial-loraplex-{part}")["initContainers"]
        assert first["args"][0] == "migrate"


def test_no_hook_depends_on_the_secret_that_the_release_makes_unless_it_is_there_by_then() -> None:
    (job,) = _pod(worlds.world("deployment"), "Job/trial-loraplex-migrations")["containers"]
    named = {value["secretKeyRef"]["name"] for value in _environment(job).values() if "secretKeyRef" in value}

    assert "trial-loraplex-generated" not in named


def test_one_pod_at_a_time_writes_the_index_and_the_desired_state() -> None:
    for manifest in of_kind(worlds.world("deployment-everything"), "Deployment"):
        if not manifest["metadata"]["name"].endswith("-gateway"):
            assert manifest["spec"]["replicas"] == 1
            assert manifest["spec"]["strategy"] == {"type": "Recreate"}


def test_volumes_with_data_outlive_the_release_unless_told_otherwise() -> None:
    kept = of_kind(worlds.world("deployment-everything"), "PersistentVolumeClaim")
    gone = of_kind(
        render(merged(worlds.WORLDS["deployment-everything"], {"storage": {"keep": False}})), "PersistentVolumeClaim"
    )

    assert all(claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for claim in kept)
    assert not any("annotations" in claim["metadata"] for claim in gone)


def test_autoscaling_nodes_are_never_restarted_in_place_and_the_head_takes_no_gateway() -> None:
    spec = only(worlds.world("rayservice-everything"), "RayService")["spec"]
    cluster = spec["rayClusterConfig"]

    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["workerGroupSpecs"][0]["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["rayClusterDeletionDelaySeconds"] > 600


def test_a_worker_that_has_to_go_leaves_its_cluster_before_it_ends() -> None:
    values = merged(worlds.WORLDS["rayservice"], {"gateway": {"drainSeconds": 240}})
    spec = _pod(render(values), "RayService/trial-loraplex/gpu")
    program, flag, module, seconds = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]

    assert (program, flag, module) == ("python", "-m", ray_leave.__name__)
    assert float(seconds) == 240
    assert spec["terminationGracePeriodSeconds"] > ray_leave.longest_leave_s(240)


def test_helm_test_asks_through_the_service_with_the_key_of_a_secret() -> None:
    pod = only(worlds.world("deployment-everything"), "Pod")
    (doctor,) = pod["spec"]["containers"]

    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert doctor["args"][:2] == ["doctor", "--url=http://trial-loraplex:80"]
    assert _environment(doctor) == {"LORAPLEX_API_KEY": {"secretKeyRef": {"name": "admin", "key": "api-key"}}}
