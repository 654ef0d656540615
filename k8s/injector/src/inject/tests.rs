use proptest::prelude::*;

use super::*;

fn settings() -> Settings {
    Settings::read(include_str!("../../tests/injector.toml")).unwrap()
}

/// A pod as a Deployment makes it, with `annotations` and what else `spec` says.
fn pod(annotations: &Value, spec: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "web-", "annotations": {"lunasec.io/inject": "true"}},
        "spec": {
            "containers": [{"name": "web", "image": "shop/web:1", "env": [{"name": "PORT", "value": "80"}]}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "tmp", "emptyDir": {}}],
        },
    });
    for (key, value) in annotations.as_object().unwrap() {
        pod["metadata"]["annotations"][format!("lunasec.io/{key}")] = value.clone();
    }
    for (key, value) in spec.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    pod
}

fn with(settings: &Settings, annotations: &Value, spec: &Value) -> (Value, Vec<String>) {
    let mut pod = pod(annotations, spec);
    match decide(settings, &pod).unwrap() {
        Decision::Injected { patch, warnings } => {
            json_patch::patch(&mut pod, &patch.0).unwrap();
            (pod, warnings)
        }
        other => panic!("{other:?}"),
    }
}

fn injected(annotations: &Value, spec: &Value) -> Value {
    with(&settings(), annotations, spec).0
}

fn denied(annotations: &Value, spec: &Value) -> String {
    match decide(&settings(), &pod(annotations, spec)).unwrap() {
        Decision::Denied(words) => words.join("\n"),
        other => panic!("{other:?}"),
    }
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    container["env"].as_array()?.iter().find(|it| it["name"] == name)?["value"].as_str()
}

fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|it| it["name"] == name)
}

fn mounted<'a>(container: &'a Value, place: &str) -> Option<&'a Value> {
    container["volumeMounts"].as_array()?.iter().find(|it| it["mountPath"] == place)
}

#[test]
fn the_sidecar_is_native_and_first() {
    let pod = injected(&json!({}), &json!({"initContainers": [{"name": "migrate", "image": "m"}]}));
    let inits = pod["spec"]["initContainers"].as_array().unwrap();
    assert_eq!(
        inits.iter().map(|it| it["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["lunasec", "migrate"]
    );
    let sidecar = &inits[0];
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert_eq!(sidecar["image"], "lunasec/sidecar:0.1.0");
    assert_eq!(sidecar["args"], json!(["serve", "--config", "/etc/lunasec/lunasec.toml"]));
    assert_eq!(
        sidecar["startupProbe"]["httpGet"],
        json!({"path": "/ready", "port": "lunasec-admin"})
    );
    assert_eq!(sidecar["startupProbe"]["periodSeconds"], 1);
    assert_eq!(sidecar["livenessProbe"]["httpGet"]["path"], "/live");
    assert_eq!(sidecar.get("readinessProbe"), None);
    assert_eq!(sidecar["ports"][0]["containerPort"], 9464);
    assert_eq!(
        sidecar["resources"],
        json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "448Mi"}})
    );
    assert_eq!(pod["metadata"]["annotations"]["lunasec.io/injected"], "0.1.0");
    assert_eq!(pod["metadata"]["labels"]["lunasec.io/injected"], "true");
    // The init container of the application starts after it, and may use it.
    assert_eq!(variable(&inits[1], "LUNASEC_SOCKET"), Some("/run/lunasec/lunasec.sock"));
}

#[test]
fn the_sidecar_passes_the_restricted_standard() {
    let pod = injected(&json!({}), &json!({}));
    let context = &pod["spec"]["initContainers"][0]["securityContext"];
    for (key, value) in [
        ("runAsUser", json!(64733)),
        ("runAsGroup", json!(64733)),
        ("runAsNonRoot", json!(true)),
        ("allowPrivilegeEscalation", json!(false)),
        ("readOnlyRootFilesystem", json!(true)),
        ("capabilities", json!({"drop": ["ALL"]})),
        ("seccompProfile", json!({"type": "RuntimeDefault"})),
    ] {
        assert_eq!(context[key], value, "{key}");
    }
}

#[test]
fn the_application_reaches_the_socket_and_cannot_replace_it() {
    let pod = injected(&json!({}), &json!({}));
    let web = &pod["spec"]["containers"][0];
    assert_eq!(mounted(web, "/run/lunasec").unwrap()["readOnly"], true);
    assert_eq!(variable(web, "LUNASEC_SOCKET"), Some("/run/lunasec/lunasec.sock"));
    assert_eq!(variable(web, "PORT"), Some("80"), "what was there is still there");
    let sidecar = &pod["spec"]["initContainers"][0];
    assert_eq!(mounted(sidecar, "/run/lunasec").unwrap().get("readOnly"), None);
    assert_eq!(pod["spec"]["securityContext"]["supplementalGroups"], json!([64733]));
    assert_eq!(pod["spec"]["securityContext"].get("fsGroup"), None);
    assert_eq!(variable(sidecar, "LUNASEC_LISTEN__GROUP"), Some("64733"));
    let socket = named(&pod["spec"]["volumes"], "lunasec-socket").unwrap();
    assert_eq!(socket["emptyDir"], json!({"medium": "Memory", "sizeLimit": "1Mi"}));
}

#[test]
fn what_the_pod_says_itself_is_kept() {
    let mine = json!({
        "containers": [{"name": "web", "image": "w", "env": [{"name": "LUNASEC_SOCKET", "value": "/elsewhere"}]}],
        "securityContext": {"supplementalGroups": [7], "fsGroup": 8},
        "futureField": {"kept": true},
    });
    let pod = injected(&json!({"journal-volume": "data"}), &mine);
    assert_eq!(variable(&pod["spec"]["containers"][0], "LUNASEC_SOCKET"), Some("/elsewhere"));
    assert_eq!(pod["spec"]["containers"][0]["env"].as_array().unwrap().len(), 1);
    let context = &pod["spec"]["securityContext"];
    let private = "OnRootMismatch";
    assert_eq!(
        *context,
        json!({"supplementalGroups": [7, 64733], "fsGroup": 8, "fsGroupChangePolicy": private})
    );
    assert_eq!(pod["spec"]["futureField"]["kept"], true, "a field of a newer API is not lost");
}

#[test]
fn the_sidecar_gets_no_token_of_the_api() {
    let token = json!([{"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]);
    let pod = injected(
        &json!({}),
        &json!({"containers": [{"name": "web", "image": "w", "volumeMounts": token}]}),
    );
    let there =
        mounted(&pod["spec"]["initContainers"][0], "/var/run/secrets/kubernetes.io/serviceaccount")
            .unwrap();
    assert_eq!(there["name"], "lunasec-no-token");
    assert!(named(&pod["spec"]["volumes"], "lunasec-no-token").unwrap()["emptyDir"].is_object());
    let web = &pod["spec"]["containers"][0];
    assert_eq!(
        mounted(web, "/var/run/secrets/kubernetes.io/serviceaccount").unwrap()["name"],
        "kube-api-access-x"
    );
}

#[test]
fn only_chosen_containers_reach_the_socket() {
    let two = json!({"containers": [{"name": "web", "image": "w"}, {"name": "log", "image": "l"}]});
    let pod = injected(&json!({"containers": "web"}), &two);
    assert!(mounted(&pod["spec"]["containers"][0], "/run/lunasec").is_some());
    assert_eq!(pod["spec"]["containers"][1], json!({"name": "log", "image": "l"}));
    assert!(
        denied(&json!({"containers": "web,db"}), &two)
            .contains("names db, and the pod has no such container; it has web, log")
    );
}

#[test]
fn a_journal_is_only_where_it_lasts_or_where_its_loss_was_acknowledged() {
    let outage = |pod: &Value| {
        variable(&pod["spec"]["initContainers"][0], "LUNASEC_DEGRADE__ON_STORAGE_OUTAGE")
            .unwrap()
            .to_owned()
    };
    let plain = injected(&json!({}), &json!({}));
    assert_eq!(outage(&plain), "reject");
    assert!(named(&plain["spec"]["volumes"], "lunasec-state").unwrap()["emptyDir"].is_object());
    let lasting = injected(&json!({"journal-volume": "data"}), &json!({}));
    assert_eq!(outage(&lasting), "journal");
    assert_eq!(
        mounted(&lasting["spec"]["initContainers"][0], "/var/lib/lunasec").unwrap()["name"],
        "data"
    );
    assert_eq!(named(&lasting["spec"]["volumes"], "lunasec-state"), None);
    let context = &lasting["spec"]["securityContext"];
    assert_eq!(
        (&context["fsGroup"], &context["fsGroupChangePolicy"]),
        (&json!(64733), &json!("OnRootMismatch"))
    );
    let of_its_own = json!({"securityContext": {"fsGroup": 8}});
    let of_its_own = injected(&json!({"journal-volume": "data"}), &of_its_own);
    let context = &of_its_own["spec"]["securityContext"];
    assert_eq!(
        (&context["fsGroup"], &context["fsGroupChangePolicy"]),
        (&json!(8), &json!("OnRootMismatch"))
    );
    let always = json!({"securityContext": {"fsGroup": 8, "fsGroupChangePolicy": "Always"}});
    assert!(denied(&json!({"journal-volume": "data"}), &always).contains("OnRootMismatch"));
    assert_eq!(outage(&injected(&json!({"journal-loss": "acknowledged"}), &json!({}))), "journal");
    let both = json!({"journal-volume": "tmp", "journal-loss": "acknowledged"});
    assert_eq!(outage(&injected(&both, &json!({}))), "journal");
    let mut everywhere = settings();
    everywhere.sidecar.journal = crate::settings::Journal::EphemeralAcknowledged;
    assert_eq!(outage(&with(&everywhere, &json!({}), &json!({})).0), "journal");
}

#[test]
fn a_journal_on_what_dies_or_cannot_be_written_is_refused() {
    let on =
        |volume: Value| denied(&json!({"journal-volume": "it"}), &json!({"volumes": [volume]}));
    for dying in [
        json!({"name": "it", "emptyDir": {}}),
        json!({"name": "it"}),
        json!({"name": "it", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}),
        json!({"name": "it", "csi": {"driver": "inline.example"}}),
    ] {
        assert!(on(dying.clone()).contains("dies with the pod"), "{dying}");
    }
    assert!(on(json!({"name": "it", "configMap": {"name": "x"}})).contains("cannot be written"));
    assert!(on(json!({"name": "other", "emptyDir": {}})).contains("no volume of that name"));
}

#[test]
fn web_identity_and_pod_identity_are_the_sidecars_alone() {
    let role = injected(
        &json!({"aws-role-arn": "arn:aws:iam::123456789012:role/shop", "aws-region": "eu-central-1"}),
        &json!({}),
    );
    let sidecar = &role["spec"]["initContainers"][0];
    assert_eq!(variable(sidecar, "AWS_ROLE_ARN"), Some("arn:aws:iam::123456789012:role/shop"));
    assert_eq!(variable(sidecar, "AWS_REGION"), Some("eu-central-1"));
    let file = variable(sidecar, "AWS_WEB_IDENTITY_TOKEN_FILE").unwrap();
    let source = |pod: &Value| {
        named(&pod["spec"]["volumes"], "lunasec-aws-token").unwrap()["projected"]["sources"][0]["serviceAccountToken"].clone()
    };
    let mount = mounted(sidecar, file.strip_suffix("/token").unwrap()).unwrap();
    assert_eq!((&mount["name"], &mount["readOnly"]), (&json!("lunasec-aws-token"), &json!(true)));
    assert_eq!(source(&role)["audience"], "sts.amazonaws.com");
    assert!(!role["spec"]["containers"].to_string().contains("aws"));
    let (pod, warnings) = with(&settings(), &json!({"aws-pod-identity": "true"}), &json!({}));
    let sidecar = &pod["spec"]["initContainers"][0];
    assert_eq!(source(&pod)["audience"], "pods.eks.amazonaws.com");
    let agent = |sidecar: &Value| {
        variable(sidecar, "AWS_CONTAINER_CREDENTIALS_FULL_URI").unwrap().to_owned()
    };
    assert_eq!(agent(sidecar), "http://[fd00:ec2::23]/v1/credentials");
    let mut other = settings();
    other.sidecar.pod_identity = "169.254.170.23".to_owned();
    let (on_ipv4, _) = with(&other, &json!({"aws-pod-identity": "true"}), &json!({}));
    let address = agent(&on_ipv4["spec"]["initContainers"][0]);
    assert_eq!(address, "http://169.254.170.23/v1/credentials");
    assert!(variable(sidecar, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").is_some());
    assert!(warnings[0].contains("every container of the pod can have the role"), "{warnings:?}");
}

#[test]
fn a_standby_key_is_mounted_for_the_sidecar_alone() {
    let pod = injected(&json!({"standby-key-secret": "standby"}), &json!({}));
    let sidecar = &pod["spec"]["initContainers"][0];
    let file = variable(sidecar, "LUNASEC_DEGRADE__STANDBY_KEY_FILE").unwrap();
    assert!(mounted(sidecar, file.strip_suffix("/standby.key").unwrap()).is_some());
    assert_eq!(
        named(&pod["spec"]["volumes"], "lunasec-standby-key").unwrap()["secret"]["secretName"],
        "standby"
    );
    assert!(!pod["spec"]["containers"].to_string().contains("standby"));
}

#[test]
fn the_sidecars_port_is_the_settings_or_the_pods() {
    let port = |pod: &Value| {
        let sidecar = &pod["spec"]["initContainers"][0];
        let address = variable(sidecar, "LUNASEC_LISTEN__ADMIN").unwrap().to_owned();
        (address, sidecar["ports"][0]["containerPort"].as_u64().unwrap())
    };
    assert_eq!(port(&injected(&json!({}), &json!({}))), ("[::]:9464".to_owned(), 9464));
    let uses =
        json!({"containers": [{"name": "web", "image": "w", "ports": [{"containerPort": 9464}]}]});
    assert!(denied(&json!({}), &uses).contains("lunasec.io/admin-port"));
    let other = json!({"admin-port": "9465"});
    assert_eq!(port(&injected(&other, &uses)), ("[::]:9465".to_owned(), 9465));
    let also =
        json!({"containers": [{"name": "web", "image": "w", "ports": [{"containerPort": 9465}]}]});
    assert!(denied(&other, &also).contains("listens on port 9465"));
    let mut on_ipv4 = settings();
    on_ipv4.sidecar.admin = "0.0.0.0:9000".parse().unwrap();
    assert_eq!(port(&with(&on_ipv4, &other, &json!({})).0), ("0.0.0.0:9465".to_owned(), 9465));
}

#[test]
fn the_volume_that_dies_with_its_pod_has_a_limit() {
    let limit =
        |pod: &Value| named(&pod["spec"]["volumes"], "lunasec-state").unwrap()["emptyDir"].clone();
    assert_eq!(limit(&injected(&json!({}), &json!({}))), json!({"sizeLimit": "2Gi"}));
    let more = json!({"state-limit": "10Gi"});
    assert_eq!(limit(&injected(&more, &json!({}))), json!({"sizeLimit": "10Gi"}));
    let mut without = settings();
    without.sidecar.state_limit = None;
    assert_eq!(limit(&with(&without, &json!({}), &json!({})).0), json!({}));
}

#[test]
fn the_cluster_autoscaler_may_lose_what_is_worth_nothing_and_never_a_journal() {
    const KEY: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
    let may = |pod: &Value| pod["metadata"]["annotations"][KEY].as_str().unwrap().to_owned();
    let plain = may(&injected(&json!({}), &json!({})));
    assert_eq!(plain, "lunasec-socket,lunasec-no-token,lunasec-state");
    let none = "lunasec-socket,lunasec-no-token";
    assert_eq!(may(&injected(&json!({"journal-volume": "data"}), &json!({}))), none);
    assert_eq!(may(&injected(&json!({"journal-loss": "acknowledged"}), &json!({}))), none);
    let mut own = pod(&json!({}), &json!({}));
    own["metadata"]["annotations"][KEY] = "tmp, lunasec-socket,".into();
    let Decision::Injected { patch, .. } = decide(&settings(), &own).unwrap() else { panic!() };
    json_patch::patch(&mut own, &patch.0).unwrap();
    assert_eq!(may(&own), format!("tmp,{plain}"));
}

#[test]
fn the_pods_word_goes_before_the_settings() {
    let asked = json!({"config": "other", "cpu-limit": "2", "mem-request": "128Mi", "mem-limit": "1Gi", "log-level": "debug"});
    let pod = injected(&asked, &json!({}));
    let sidecar = &pod["spec"]["initContainers"][0];
    assert_eq!(sidecar["resources"]["limits"], json!({"cpu": "2", "memory": "1Gi"}));
    assert_eq!(sidecar["resources"]["requests"]["memory"], "128Mi");
    assert_eq!(variable(sidecar, "LUNASEC_LOG__LEVEL"), Some("debug"));
    assert_eq!(
        named(&pod["spec"]["volumes"], "lunasec-config").unwrap()["configMap"]["name"],
        "other"
    );
    assert!(
        denied(&json!({"mem-limit": "32Mi"}), &json!({}))
            .contains("request of memory is 64Mi, more than its limit, 32Mi")
    );
    let mut trusting = settings();
    trusting.sidecar.ca_bundle = true;
    let pod = with(&trusting, &json!({}), &json!({})).0;
    assert_eq!(
        variable(&pod["spec"]["initContainers"][0], "SSL_CERT_FILE"),
        Some("/etc/lunasec/ca.pem")
    );
}

#[test]
fn a_json_patch_changes_the_sidecar_and_nothing_that_keeps_it_apart() {
    let patch = |operations: &str| json!({ "json-patch": operations });
    let pod = injected(
        &patch(r#"[{"op":"replace","path":"/image","value":"mirror/sidecar:1"}]"#),
        &json!({}),
    );
    assert_eq!(pod["spec"]["initContainers"][0]["image"], "mirror/sidecar:1");
    let stale = r#"[{"op":"add","path":"/args/-","value":"--replay-stale-journal"}]"#;
    let pod = injected(&patch(stale), &json!({}));
    assert_eq!(pod["spec"]["initContainers"][0]["args"][3], "--replay-stale-journal");
    for (operations, words) in [
        (r#"[{"op":"replace","path":"/name","value":"x"}]"#, "it changes name"),
        (r#"[{"op":"remove","path":"/restartPolicy"}]"#, "it changes restartPolicy"),
        (r#"[{"op":"replace","path":"/args","value":["x"]}]"#, "it changes args"),
        (r#"[{"op":"add","path":"/args/-","value":"--new-store"}]"#, "it changes args"),
        (r#"[{"op":"add","path":"/command","value":["x"]}]"#, "it changes command"),
        (r#"[{"op":"add","path":"/envFrom","value":[]}]"#, "it changes envFrom"),
        (r#"[{"op":"add","path":"/lifecycle","value":{}}]"#, "it changes lifecycle"),
        (
            r#"[{"op":"replace","path":"/securityContext/runAsUser","value":0}]"#,
            "it changes securityContext",
        ),
        (
            r#"[{"op":"replace","path":"/securityContext/runAsGroup","value":0}]"#,
            "it changes securityContext",
        ),
        (
            r#"[{"op":"add","path":"/securityContext/capabilities/add","value":["SYS_PTRACE"]}]"#,
            "it changes securityContext",
        ),
        (r#"[{"op":"remove","path":"/volumeMounts/3"}]"#, "removes the mount at /var/run/secrets"),
        (
            r#"[{"op":"add","path":"/volumeMounts/-","value":{"name":"tmp","mountPath":"/x/../var/run"}}]"#,
            "over a mount of the sidecar",
        ),
        (
            r#"[{"op":"add","path":"/volumeMounts/-","value":{"name":"tmp","mountPath":"/x"}}]"#,
            "it mounts tmp",
        ),
        (
            r#"[{"op":"add","path":"/env/-","value":{"name":"LUNASEC_DEGRADE__ON_STORAGE_OUTAGE","value":"journal"}}]"#,
            "it changes the variable LUNASEC_DEGRADE__ON_STORAGE_OUTAGE",
        ),
        (r#"[{"op":"replace","path":"/nothing","value":0}]"#, "there is no such path"),
        (r#"[{"op":"replace","path":"","value":0}]"#, "no container"),
        (r#"[{"op":"test","path":"/name","value":"x"}]"#, "something else"),
        (r#"[{"op":"replace","path":"/env","value":"x"}]"#, "no container"),
    ] {
        let said = denied(&patch(operations), &json!({}));
        assert!(said.contains(words), "{operations}: {said}");
    }
    let doubling = vec![r#"{"op":"copy","from":"/env","path":"/env/-"}"#; 90].join(",");
    assert!(
        denied(&patch(&format!("[{doubling}]")), &json!({})).contains("more than 262144 bytes")
    );
}

#[test]
fn a_json_patch_mounts_what_cannot_harm() {
    let mount = r#"[{"op":"add","path":"/volumeMounts/-","value":{"name":"it","mountPath":"/x"}}]"#;
    let asked = json!({ "json-patch": mount });
    let token = |audience: Value| json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": audience}}]}});
    let named = |mut volume: Value| {
        volume["name"] = "it".into();
        json!({ "volumes": [volume] })
    };
    for good in [
        json!({"configMap": {"name": "a"}}),
        json!({"secret": {"secretName": "a"}}),
        json!({"csi": {"driver": "secrets.example"}}),
        token("sts.amazonaws.com".into()),
    ] {
        let pod = injected(&asked, &named(good));
        assert!(mounted(&pod["spec"]["initContainers"][0], "/x").is_some());
    }
    for bad in [
        json!({"hostPath": {"path": "/"}}),
        json!({"emptyDir": {}}),
        json!({"persistentVolumeClaim": {"claimName": "a"}}),
        token(Value::Null),
    ] {
        let said = denied(&asked, &named(bad.clone()));
        assert!(said.contains("it mounts it"), "{bad}: {said}");
    }
}

#[test]
fn copies_into_themselves_end_before_the_stack_does() {
    let deep = format!("{}{}", "[".repeat(10), "]".repeat(10));
    let mut operations = vec![format!(r#"{{"op":"add","path":"/x","value":{deep}}}"#)];
    for doubled in 0..11_u32 {
        let leaf = "/0".repeat(10 * 2_usize.pow(doubled) - 1);
        operations.push(format!(r#"{{"op":"copy","from":"/x","path":"/x{leaf}/0"}}"#));
    }
    // The first copy is 20 deep, the second would be 40.
    for many in 3..=operations.len() {
        let asked = json!({"json-patch": format!("[{}]", operations[..many].join(","))});
        assert!(denied(&asked, &json!({})).contains("its operation 2 nests deeper than 32"));
    }
    let nested =
        format!(r#"[{{"op":"add","path":"/x","value":{}{}}}]"#, "[".repeat(500), "]".repeat(500));
    assert!(denied(&json!({ "json-patch": nested }), &json!({})).contains("RFC 6902"));
}

#[test]
fn who_says_that_it_was_injected_has_what_is_injected() {
    let decided = |pod: &Value| decide(&settings(), pod).unwrap();
    let refused = |pod: &Value| match decided(pod) {
        Decision::Denied(words) => words.join("\n"),
        other => panic!("{other:?}"),
    };
    let asked = json!({"journal-volume": "data", "standby-key-secret": "s", "aws-region": "eu-central-1",
        "json-patch": r#"[{"op":"replace","path":"/image","value":"mirror/x"}]"#});
    let good = injected(&asked, &json!({}));
    assert!(matches!(decided(&good), Decision::Skipped(Why::Already)));
    // What the API server, a LimitRanger and other webhooks add.
    let mut seen = good.clone();
    let sidecar = &mut seen["spec"]["initContainers"][0];
    sidecar["terminationMessagePath"] = "/dev/termination-log".into();
    sidecar["resources"]["limits"]["cpu"] = "1".into();
    sidecar["image"] = "mirror/y".into();
    sidecar["env"].as_array_mut().unwrap().push(json!({"name": "A", "value": "b"}));
    named_mut(&mut seen["spec"]["volumes"], "lunasec-config")["configMap"]["defaultMode"] =
        420.into();
    assert!(matches!(decided(&seen), Decision::Skipped(Why::Already)));

    let forged = json!({"initContainers": [{"name": "lunasec", "image": "x", "restartPolicy": "Always",
        "securityContext": {"runAsUser": 64733}}]});
    let said = denied(&json!({"injected": "0.1.0"}), &forged);
    assert!(said.contains("says lunasec.io/injected") && said.contains("it changes"), "{said}");
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 6] = [
        (
            |it| it["containers"][0]["securityContext"] = json!({"runAsUser": 64733}),
            "runs as user 64733",
        ),
        (|it| it["hostNetwork"] = true.into(), "hostNetwork"),
        (
            |it| mounted_mut(it, "lunasec-socket")["readOnly"] = false.into(),
            "a volume of the sidecar",
        ),
        (
            |it| mounted_mut(it, "lunasec-socket")["mountPath"] = "/x".into(),
            "a volume of the sidecar",
        ),
        (
            |it| {
                *named_mut(&mut it["volumes"], "lunasec-config") =
                    json!({"name": "lunasec-config", "hostPath": {"path": "/"}})
            },
            "its volume lunasec-config is another one",
        ),
        (
            |it| it["initContainers"][0]["securityContext"]["privileged"] = true.into(),
            "it changes securityContext",
        ),
    ];
    for (change, words) in changes {
        let mut pod = good.clone();
        change(&mut pod["spec"]);
        let said = refused(&pod);
        assert!(said.contains(words), "{words}: {said}");
    }
}

fn named_mut<'a>(list: &'a mut Value, name: &str) -> &'a mut Value {
    list.as_array_mut().unwrap().iter_mut().find(|it| it["name"] == name).unwrap()
}

fn mounted_mut<'a>(spec: &'a mut Value, name: &str) -> &'a mut Value {
    named_mut(&mut spec["containers"][0]["volumeMounts"], name)
}

#[test]
fn nobody_else_can_take_the_journal_away() {
    let with_mount = |mut mount: Value| {
        mount["name"] = "data".into();
        mount["mountPath"] = "/d".into();
        json!({"containers": [{"name": "web", "image": "w", "volumeMounts": [mount]}]})
    };
    let asked = json!({"journal-volume": "data"});
    for bad in [
        json!({}),
        json!({"readOnly": false}),
        json!({"subPath": "./state/x"}),
        json!({"subPath": "."}),
        json!({"subPathExpr": "$(POD)"}),
        json!({"subPath": "a/../state"}),
    ] {
        let said = denied(&asked, &with_mount(bad.clone()));
        assert!(said.contains("container web can write to data at /d"), "{bad}: {said}");
    }
    for good in [json!({"readOnly": true}), json!({"subPath": "shop"})] {
        injected(&asked, &with_mount(good));
    }
    let twice = |one: Value, other: Value| {
        let named = |name: &str, mut volume: Value| {
            volume["name"] = name.into();
            volume
        };
        let mounts = json!([{"name": "again", "mountPath": "/d"}]);
        json!({"volumes": [named("data", one), named("again", other)],
            "containers": [{"name": "web", "image": "w", "volumeMounts": mounts}]})
    };
    let claim = |name: &str| json!({"persistentVolumeClaim": {"claimName": name}});
    let share = || json!({"nfs": {"server": "nfs.example", "path": "/journal"}});
    for same in [twice(claim("x"), claim("x")), twice(share(), share())] {
        let said = denied(&asked, &same);
        assert!(said.contains("container web can write to again at /d"), "{said}");
    }
    injected(&asked, &twice(claim("x"), claim("y")));
    let made = json!({"journal-volume": "data", "journal-loss": "acknowledged"});
    injected(&made, &twice(json!({"emptyDir": {}}), json!({"emptyDir": {}})));
}

#[test]
fn mistakes_are_as_many_and_as_long_as_somebody_reads() {
    let many: Vec<_> = (0..1000)
        .map(|at| {
            json!({"name": format!("c{at}"), "image": "x",
        "volumeMounts": [{"name": "x".repeat(1000), "mountPath": "/run/lunasec"}]})
        })
        .collect();
    let names: Vec<_> = (0..100).map(|at| format!("z{at}")).collect();
    let said = denied(&json!({"containers": names.join(",")}), &json!({"containers": many}));
    assert!(said.ends_with("and 1080 more") && said.len() < 20_000, "{said}");
    let more = json!({"containers": vec![json!({"name": "c"}); 1001]});
    assert!(denied(&json!({}), &more).contains("1001 entries"));
}

#[test]
fn pods_that_cannot_have_a_sidecar_are_refused_with_words() {
    let uid = json!({"runAsUser": 64733});
    let gid = json!({"runAsGroup": 64733});
    let web = |more: Value| {
        let mut web = json!({"name": "web", "image": "w"});
        web.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"containers": [web]})
    };
    for (spec, words) in [
        (json!({"hostNetwork": true}), "hostNetwork"),
        (json!({"os": {"name": "windows"}}), "for Windows"),
        (json!({"nodeSelector": {"kubernetes.io/os": "windows"}}), "for Windows"),
        (json!({"securityContext": uid}), "container web runs as user 64733"),
        (web(json!({"securityContext": uid})), "container web runs as user 64733"),
        (json!({"securityContext": gid}), "container web runs in group 64733"),
        (web(json!({"securityContext": gid})), "container web runs in group 64733"),
        (json!({"volumes": [{"name": "lunasec-state", "emptyDir": {}}]}), "rename it"),
        (
            web(json!({"volumeMounts": [{"name": "a", "mountPath": "/run/lunasec"}]})),
            "mount it elsewhere",
        ),
        (
            web(json!({"volumeMounts": [{"name": "a", "mountPath": "//var/run/./lunasec/x/"}]})),
            "mount it elsewhere",
        ),
        (
            web(json!({"volumeMounts": [{"name": "a", "mountPath": "/srv/../run/lunasec"}]})),
            "mount it elsewhere",
        ),
        (
            web(json!({"volumeMounts": [{"name": "lunasec-socket", "mountPath": "/x"}]})),
            "a volume of the sidecar",
        ),
        (web(json!({"ports": [{"containerPort": 9464}]})), "listens on port 9464"),
        (web(json!({"name": "lunasec"})), "rename it"),
        (
            json!({"initContainers": [{"name": "lunasec", "image": "x", "restartPolicy": "Always"}]}),
            "rename it",
        ),
    ] {
        let said = denied(&json!({}), &spec);
        assert!(said.contains(words), "{spec}: {said}");
    }
    assert!(
        denied(&json!({"colour": "red", "log-level": "loud"}), &json!({"hostNetwork": true}))
            .lines()
            .count()
            == 3
    );
    let own = json!({"securityContext": uid, "containers": [{"name": "web", "image": "w", "securityContext": {"runAsUser": 1000}}]});
    injected(&json!({}), &own);
    injected(
        &json!({}),
        &web(
            json!({"volumeMounts": [{"name": "a", "mountPath": "/run"}], "ports": [{"containerPort": 9464, "protocol": "UDP"}]}),
        ),
    );
}

#[test]
fn what_is_to_be_thought_about_is_a_warning() {
    let (_, none) = with(&settings(), &json!({}), &json!({}));
    assert!(none.is_empty(), "{none:?}");
    let spec = json!({
        "shareProcessNamespace": true,
        "containers": [
            {"name": "web", "image": "w", "securityContext": {"runAsUser": 1000}, "volumeMounts": [{"name": "data", "mountPath": "/d", "readOnly": true}]},
            {"name": "log", "image": "l"},
        ],
    });
    let (_, warnings) = with(&settings(), &json!({"journal-volume": "data"}), &spec);
    for words in [
        "CAP_SYS_PTRACE",
        "none of their own: log",
        "fsGroup is set",
        "volume data has the journal",
    ] {
        assert!(warnings.iter().any(|it| it.contains(words)), "{words}: {warnings:?}");
    }
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert!(warnings.iter().all(|it| it.len() <= 256));
}

#[test]
fn a_pod_that_wants_none_or_has_one_is_let_through() {
    let decided = |pod: &Value| decide(&settings(), pod).unwrap();
    let none = json!({"metadata": {}, "spec": {"containers": [], "hostNetwork": true}});
    assert!(matches!(decided(&none), Decision::Skipped(Why::NotWanted)));
    assert!(matches!(
        decided(&pod(&json!({"inject": "false"}), &json!({}))),
        Decision::Skipped(Why::NotWanted)
    ));
    assert!(matches!(decided(&injected(&json!({}), &json!({}))), Decision::Skipped(Why::Already)));
    // The annotation alone, as a template copied from a running pod may have, is no sidecar.
    let pod = injected(&json!({"injected": "0.0.9"}), &json!({}));
    assert_eq!(pod["metadata"]["annotations"]["lunasec.io/injected"], "0.1.0");
}

#[test]
fn nulls_are_as_good_as_nothing() {
    let spec = json!({"volumes": null, "initContainers": null, "securityContext": null,
        "containers": [{"name": "web", "image": "w", "env": null, "volumeMounts": null, "securityContext": null}]});
    let pod = injected(&json!({}), &spec);
    assert_eq!(pod["spec"]["initContainers"].as_array().unwrap().len(), 1);
    assert!(mounted(&pod["spec"]["containers"][0], "/run/lunasec").is_some());
}

#[test]
fn what_is_no_pod_is_told() {
    for value in [
        json!(null),
        json!([]),
        json!({"spec": {"containers": 3}}),
        json!({"metadata": {"annotations": {"lunasec.io/inject": "true"}}}),
    ] {
        assert!(decide(&settings(), &value).is_err(), "{value}");
    }
}

/// Any JSON at all.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z/~.-]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z~/]{0,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A part of a pod as it should be, or anything.
fn part(good: Vec<Value>) -> impl Strategy<Value = Value> {
    prop_oneof![8 => prop::sample::select(good), 1 => any_json()]
}

fn any_pod() -> impl Strategy<Value = Value> {
    let containers = part(vec![
        json!([{"name": "web", "image": "w"}]),
        json!([{"name": "web", "env": [], "volumeMounts": []}, {"name": "b", "env": null}]),
        json!([]),
    ]);
    let inits = part(vec![json!(null), json!([]), json!([{"name": "i"}])]);
    let volumes = part(vec![
        json!(null),
        json!([]),
        json!([{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}]),
    ]);
    let context = part(vec![
        json!(null),
        json!({}),
        json!({"supplementalGroups": [1]}),
        json!({"fsGroup": 1}),
    ]);
    let annotation = part(vec![json!("true")]);
    let more = prop::collection::hash_map(
        prop::sample::select(vec![
            "lunasec.io/journal-volume",
            "lunasec.io/json-patch",
            "lunasec.io/containers",
            "a/b~c",
        ]),
        prop::sample::select(vec![
            "data",
            "[]",
            "web",
            r#"[{"op":"add","path":"/env/-","value":{"name":"A"}}]"#,
        ]),
        0..2,
    );
    (containers, inits, volumes, context, annotation, more).prop_map(|(containers, inits, volumes, context, annotation, more)| {
        let mut pod = json!({
            "metadata": {"annotations": {"lunasec.io/inject": annotation}},
            "spec": {"containers": containers, "initContainers": inits, "volumes": volumes, "securityContext": context},
        });
        for (key, text) in more {
            pod["metadata"]["annotations"][key] = text.into();
        }
        pod
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_json_makes_it_panic(value in any_json()) {
        let _ = decide(&settings(), &value);
    }

    #[test]
    fn twice_is_once(mut pod in any_pod()) {
        if let Ok(Decision::Injected { patch, .. }) = decide(&settings(), &pod) {
            json_patch::patch(&mut pod, &patch.0).unwrap();
            prop_assert!(matches!(decide(&settings(), &pod), Ok(Decision::Skipped(Why::Already))));
        }
    }
}

#[test]
fn most_pods_of_that_property_are_injected() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let injected = (0..200)
        .filter(|_| {
            let pod = any_pod().new_tree(&mut runner).unwrap().current();
            matches!(decide(&settings(), &pod), Ok(Decision::Injected { .. }))
        })
        .count();
    assert!(injected > 40, "only {injected} of 200");
}
