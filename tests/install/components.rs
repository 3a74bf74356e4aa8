use std::{collections::BTreeSet, fs};

use agentkube::admission::Policy;
use serde_json::{Value, json};

use crate::{
    find,
    kustomize::{COMPONENTS, base, site, usage, with},
    list, path, pod, settings,
};

#[test]
fn every_component_is_known_here() {
    let folders = fs::read_dir(path("manifests/components")).expect("the components");
    let found: BTreeSet<_> = folders
        .map(|folder| {
            let name = folder.expect("a folder").file_name();
            name.into_string().expect("text")
        })
        .collect();
    assert_eq!(found, COMPONENTS.map(str::to_owned).into());
}

#[tokio::test]
async fn whatever_is_chosen_the_manager_may_do_no_more_than_it_needs() {
    for component in COMPONENTS {
        let Some(manifests) = with(component).await else {
            return;
        };
        let pod = pod(&manifests);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        assert_eq!(list(&pod["containers"]).len(), 1, "{component}");
        let container = &pod["containers"][0];
        let context = json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
        });
        assert_eq!(container["securityContext"], context, "{component}");
        for probe in ["livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"]["port"], "probes");
        }
        for resource in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
            assert!(
                container["resources"]
                    .pointer(resource)
                    .is_some()
            );
        }
        for mount in list(&container["volumeMounts"]) {
            assert_eq!(mount["readOnly"], true, "{component}");
            assert_eq!(mount["subPath"], Value::Null, "{component}");
        }
        assert_eq!(
            find(&manifests, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
            "restricted"
        );
    }
}

#[tokio::test]
async fn a_rollout_and_a_drain_leave_a_replica() {
    let Some(manifests) = base().await else {
        return;
    };
    let deployment = &find(&manifests, "Deployment")["spec"];
    assert_eq!(deployment["replicas"], 2);
    assert_eq!(deployment["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    let budget = &find(&manifests, "PodDisruptionBudget")["spec"];
    assert_eq!(budget["maxUnavailable"], 1);
    let labels = &deployment["template"]["metadata"]["labels"];
    assert_eq!(&budget["selector"]["matchLabels"], labels);
    let policy = &find(&manifests, "NetworkPolicy")["spec"];
    assert_eq!(&policy["podSelector"]["matchLabels"], labels);
    // Whatever the manager listens on can be reached; a policy that forgets a port shuts it.
    let named = |ports: &[Value], member: &str| -> BTreeSet<String> {
        let names = ports
            .iter()
            .map(|port| port[member].to_string());
        names.collect()
    };
    let opened: Vec<_> = list(&policy["ingress"])
        .iter()
        .flat_map(|rule| list(&rule["ports"]))
        .cloned()
        .collect();
    let listened = list(&deployment["template"]["spec"]["containers"][0]["ports"]);
    assert_eq!(named(&opened, "port"), named(listened, "name"));
}

#[tokio::test]
async fn high_availability_keeps_replicas_apart_and_in_place() {
    let Some(manifests) = with("ha").await else {
        return;
    };
    assert_eq!(find(&manifests, "Deployment")["spec"]["replicas"], 3);
    let pod = pod(&manifests);
    let class = &find(&manifests, "PriorityClass")["metadata"]["name"];
    assert_eq!(&pod["priorityClassName"], class);
    let spread: Vec<_> = list(&pod["topologySpreadConstraints"])
        .iter()
        .map(|constraint| (&constraint["topologyKey"], &constraint["whenUnsatisfiable"]))
        .collect();
    let expected = [
        (
            &json!("topology.kubernetes.io/zone"),
            &json!("ScheduleAnyway"),
        ),
        (&json!("kubernetes.io/hostname"), &json!("DoNotSchedule")),
    ];
    assert_eq!(spread, expected);
}

#[tokio::test]
async fn in_an_air_gap_the_managers_image_moves_as_agentkube_moves_images() {
    let mirror = "registry.example.com/mirror";
    let Some(manifests) = with("pull-secret").await else {
        return;
    };
    let variables = [("AGENTKUBE_IMAGE_REGISTRY", mirror)];
    let settings = settings(&manifests);
    let wanted = [
        ("AGENTKUBE_IMAGE_REGISTRY".to_owned(), mirror.to_owned()),
        ("AGENTKUBE_PULL_SECRETS".to_owned(), "mirror".to_owned()),
    ];
    assert_eq!(settings, wanted);
    let policy = Policy::parse(
        settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    assert!(policy.is_ok(), "the manager starts with them");

    let pod = pod(&manifests);
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "mirror"}]));
    let images = assert_cmd::Command::cargo_bin("agentkube")
        .expect("the program")
        .args(["images", "--output", "names"])
        .env_clear()
        .envs(variables)
        .output()
        .expect("it runs");
    let images = String::from_utf8(images.stdout).expect("text");
    let ours = images
        .lines()
        .find(|image| image.contains("agentkube-manager"));
    assert_eq!(pod["containers"][0]["image"].as_str(), ours);
}

#[tokio::test]
async fn what_is_passed_on_the_command_line_is_mounted() {
    let Some(manifests) = site(&everything()).await else {
        return;
    };
    let pod = pod(&manifests);
    let container = &pod["containers"][0];
    let args: Vec<_> = list(&container["args"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let expected = [
        "manager",
        "--tls-dir=/etc/agentkube/tls",
        "--client-ca=/etc/agentkube/client-ca/ca.crt",
        "--metrics-authorization",
    ];
    assert_eq!(args, expected);
    let volumes = list(&pod["volumes"]);
    for (mount_path, source, name) in [
        (
            "/etc/agentkube/tls",
            "/secret/secretName",
            "agentkube-webhook",
        ),
        (
            "/etc/agentkube/client-ca",
            "/configMap/name",
            "agentkube-client-ca-",
        ),
    ] {
        let mount = list(&container["volumeMounts"])
            .iter()
            .find(|mount| mount["mountPath"] == mount_path)
            .expect(mount_path);
        let volume = volumes
            .iter()
            .find(|volume| volume["name"] == mount["name"])
            .expect(mount_path);
        let found = volume
            .pointer(source)
            .and_then(Value::as_str);
        assert!(
            found.is_some_and(|found| found.starts_with(name)),
            "{volume}"
        );
    }
    // The Secret is the one that the Certificate fills, and the injector takes its authority.
    let leaf = manifests
        .iter()
        .find(|manifest| manifest.kind == "Certificate" && manifest.name == "agentkube-webhook")
        .expect("the Certificate");
    assert_eq!(leaf.object["spec"]["secretName"], "agentkube-webhook");
    for kind in [
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ] {
        let annotations = &find(&manifests, kind)["metadata"]["annotations"];
        assert_eq!(
            annotations["cert-manager.io/inject-ca-from"],
            "agentkube-system/agentkube-webhook"
        );
    }
}

/// Every component at once.
fn everything() -> String {
    let components = COMPONENTS.map(|component| format!("../manifests/components/{component}"));
    let usages = ["client-auth", "pull-secret"].map(|component| {
        let usage = usage(component);
        let generators = usage.split_once("configMapGenerator:\n");
        generators
            .expect("a generator")
            .1
            .to_owned()
    });
    format!(
        "resources: [../manifests]\ncomponents: [{}]\nconfigMapGenerator:\n{}",
        components.join(", "),
        usages.concat()
    )
}
