use serde_json::{Value, json};

use super::*;
use crate::{checks::Level, server::certificates::issue::service_names};

fn subject() -> Installation {
    let mut names = service_names(MANAGER, "agentkube-system");
    names.push("127.0.0.1".to_owned());
    Installation {
        namespace: "agentkube-system".to_owned(),
        names,
        tls_dir: None,
        authorizes_references: true,
        authorizes_metrics: false,
    }
}

fn service(namespace: &str, name: &str, path: &str, port: u16) -> Value {
    json!({"service": {"namespace": namespace, "name": name, "path": path, "port": port}})
}

fn registrations(client: &Value, metadata: &Value) -> Registrations {
    let webhook = json!({
        "name": "agents.agentkube.io", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": client,
    });
    let mut mutating = json!({"metadata": metadata, "webhooks": [webhook]});
    mutating["metadata"]["name"] = json!(NAME);
    Registrations {
        mutating: Ok(Some(serde_json::from_value(mutating).unwrap())),
        validating: Ok(Some(
            serde_json::from_value(json!({"metadata": {"name": NAME}, "webhooks": []})).unwrap(),
        )),
    }
}

/// The problems, one per line.
fn wrong(client: &Value, metadata: &Value, subject: &Installation) -> String {
    let findings = registrations(client, metadata).look(subject);
    let lines: Vec<_> = findings
        .iter()
        .filter(|finding| finding.level > Level::Ok)
        .map(ToString::to_string)
        .collect();
    lines.join("\n")
}

#[test]
fn a_registration_that_points_at_us_is_in_order() {
    let bundle = {
        let now = jiff::Timestamp::now();
        let hour = std::time::Duration::from_secs(3600);
        let authority =
            crate::server::certificates::issue::CertificateAuthority::new(hour, now).unwrap();
        base64::Engine::encode(
            &base64::prelude::BASE64_STANDARD,
            authority.certificate_pem(),
        )
    };
    for mut client in [
        service("agentkube-system", MANAGER, "/mutate", 443),
        json!({"url": "https://127.0.0.1:9443/rewrite-defaults"}),
    ] {
        client["caBundle"] = json!(bundle);
        assert_eq!(wrong(&client, &json!({}), &subject()), "");
    }
    // Without any, it is ours to write.
    let client = service("agentkube-system", MANAGER, "/mutate", 443);
    assert_eq!(wrong(&client, &json!({}), &subject()), "");
}

#[test]
fn a_registration_that_points_elsewhere_says_where_and_what_to_do() {
    let said: Vec<_> = [
        service("elsewhere", MANAGER, "/mutate", 443),
        service("agentkube-system", "other", "/mutate", 443),
        service("agentkube-system", MANAGER, "/mutate", 9443),
        service("agentkube-system", MANAGER, "/validate", 443),
        json!({"url": "https://[::1]:9443/mutate"}),
    ]
    .iter()
    .map(|client| wrong(client, &json!({}), &subject()))
    .collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    error    registrations  `agents.agentkube.io` of MutatingWebhookConfiguration `agentkube-manager` points at the namespace `elsewhere` instead of `agentkube-system` (hint: is there a second installation? A cluster can have only one)
    error    registrations  `agents.agentkube.io` of MutatingWebhookConfiguration `agentkube-manager` points at the Service `other` instead of `agentkube-manager` (hint: apply the manifests)
    error    registrations  `agents.agentkube.io` of MutatingWebhookConfiguration `agentkube-manager` points at port 9443 of the Service instead of 443 (hint: apply the manifests)
    error    registrations  `agents.agentkube.io` of MutatingWebhookConfiguration `agentkube-manager` calls the path `/validate`, which is not served for it (hint: /mutate or /rewrite-defaults)
    error    registrations  `agents.agentkube.io` of MutatingWebhookConfiguration `agentkube-manager` is called at `::1`, which the certificate does not name (hint: --serving-name=::1)
    ");
}

#[test]
fn a_bundle_that_somebody_else_keeps_is_told() {
    let now = jiff::Timestamp::now();
    let hour = std::time::Duration::from_secs(3600);
    let authority =
        crate::server::certificates::issue::CertificateAuthority::new(hour, now).unwrap();
    let bundle = base64::Engine::encode(
        &base64::prelude::BASE64_STANDARD,
        authority.certificate_pem(),
    );
    let mut client = service("agentkube-system", MANAGER, "/mutate", 443);
    let blank = client.clone();
    client["caBundle"] = json!(bundle);
    let injected = json!({"annotations": {"cert-manager.io/inject-ca-from": "a/b"}});
    let fields = json!({"f:webhooks": {"k:{\"name\":\"agents.agentkube.io\"}": {"f:clientConfig": {"f:caBundle": {}}}}});
    let owned = json!({"managedFields": [{"manager": "cainjector", "operation": "Update", "fieldsV1": fields}]});
    let with_tls_dir = Installation {
        tls_dir: Some("/tls".into()),
        ..subject()
    };
    let said = [
        wrong(&client, &injected, &subject()),
        wrong(&client, &owned, &subject()),
        wrong(&blank, &json!({}), &with_tls_dir),
    ];
    insta::assert_snapshot!(said.join("\n"), @r"
    error    ca-bundle      caBundle of MutatingWebhookConfiguration `agentkube-manager` is left to cert-manager, because of the annotation `cert-manager.io/inject-ca-from` (hint: mount the matching certificate and set --tls-dir, or remove the annotation)
    warning  ca-bundle      caBundle of MutatingWebhookConfiguration `agentkube-manager` was written by `cainjector` (hint: if that is a program, stop it from writing caBundle, which the manager maintains)
    error    ca-bundle      MutatingWebhookConfiguration `agentkube-manager` has no caBundle, and with --tls-dir the issuer of the certificate has to write it (hint: check that issuer)
    ");
    assert_eq!(wrong(&client, &injected, &with_tls_dir), "");
}

#[test]
fn a_registration_that_cannot_be_read_is_named_with_its_field() {
    let newer = json!("newer");
    let with_tls_dir = Installation {
        tls_dir: Some("/tls".into()),
        ..subject()
    };
    for (subject, is_told) in [(subject(), true), (with_tls_dir, false)] {
        let findings = registrations(&newer, &json!({})).look(&subject);
        assert_eq!(findings[0].is_told, is_told);
        assert_eq!(
            findings[0].to_string(),
            "error    registrations  MutatingWebhookConfiguration `agentkube-manager` is left unchanged: this version of agentkube cannot read webhooks[0].clientConfig (hint: correct that field, or run the release that wrote it)"
        );
    }
    // What nobody needs is in nobody's way.
    let managers = json!({"managedFields": [{"manager": "x", "time": "9999-12-31T23:59:59Z"}]});
    let client = service("agentkube-system", MANAGER, "/mutate", 443);
    assert_eq!(wrong(&client, &managers, &subject()), "");
}
