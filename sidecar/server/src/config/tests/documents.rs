//! What is valid: the example, the defaults, overrides, and what the schema says of them.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use lunasec_core::{
    ids::Namespace,
    limits,
    policy::{Namespaces, Operation},
};
use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::*;
use crate::config::{kinds::Shape, table::CONFIG};

fn parse(text: &str, pairs: &[(&str, &str)]) -> Config {
    Config::parse(text, &env(pairs)).unwrap()
}

#[test]
fn the_defaults() {
    let config = parse(LEAST, &[]);
    let expected = Config {
        listen: Listen {
            socket: "/run/lunasec/lunasec.sock".into(),
            mode: 0o660,
            group: None,
            admin: Some("127.0.0.1:9464".parse().unwrap()),
        },
        storage: Storage::Memory,
        keys: Keys::Local { path: "k".into() },
        degrade: Degrade::default(),
        cache: Cache {
            values: Remember {
                max: limits::CACHED_VALUE_BYTES,
                soft: limits::CACHED_VALUE_SOFT,
                revocation: limits::CACHED_VALUE_AGE,
                hard: limits::CACHED_VALUE_HARD,
            },
            grants: Remember {
                max: limits::CACHED_GRANT_BYTES,
                soft: limits::CACHED_GRANT_SOFT,
                revocation: limits::CACHED_GRANT_AGE,
                hard: limits::CACHED_GRANT_HARD,
            },
        },
        limits: Limits {
            value: limits::VALUE_BYTES,
            metadata: limits::METADATA_BYTES,
            batch_items: limits::LIST_ITEMS,
            batch_bytes: limits::BATCH_BYTES,
            connections: limits::CONNECTIONS,
            requests: limits::REQUESTS,
            body_bytes_in_flight: limits::BODY_BYTES_IN_FLIGHT,
            request_time: limits::REQUEST_TIME,
            head_time: limits::HEAD_TIME,
            first_byte_time: limits::FIRST_BYTE_TIME,
            idle_time: limits::IDLE_TIME,
            drain_time: limits::DRAIN_TIME,
            idempotency_entries: limits::IDEMPOTENCY_ENTRIES,
        },
        audit: Audit::default(),
        log: Log { level: Level::Info, format: Format::Text },
        sandbox: Sandbox { mode: Confinement::On },
        clients: Vec::new(),
        sessions: Vec::new(),
        grants: Grants::default(),
        sweep: Sweep {
            expired_grace: limits::EXPIRED_GRACE,
            tombstone_grace: limits::TOMBSTONE_GRACE,
        },
    };
    assert_eq!(config, expected);
}

#[test]
fn the_example_shows_every_field_and_its_default() {
    let config = parse(EXAMPLE, &[]);
    assert_eq!(config.storage, Storage::Embedded { path: "/var/lib/lunasec/store.redb".into() });
    assert_eq!(config.listen.group.as_deref(), Some("lunasec"));
    assert_eq!(config.degrade.state_dir, Some("/var/lib/lunasec".into()));
    let least = parse(LEAST, &[]);
    assert_eq!((config.limits, config.log, config.sweep), (least.limits, least.log, least.sweep));
    assert_eq!(config.cache, least.cache);
    for field in CONFIG.fields {
        let line = field.line(&field.example());
        assert!(EXAMPLE.contains(&line) || AWS.contains(&line), "{}", field.full());
    }
}

#[test]
fn the_clients_of_the_example_and_what_is_left_out() {
    let [shop]: [Client; 1] = parse(EXAMPLE, &[]).clients.try_into().unwrap();
    let default = Namespaces::These(vec![Namespace::default()]);
    let expected = Client {
        name: "shop".into(),
        uid: Some(10001),
        gid: Some(10001),
        namespaces: default.clone(),
        operations: Operation::GRANTABLE.into(),
        require_grant: false,
        require_purpose: false,
        grant_any_session: false,
        requests_per_second: NonZeroU32::new(5000),
        reveals_per_minute: NonZeroU32::new(600),
    };
    assert_eq!(shop, expected);
    let least = "[[clients]]\nname = \"a\"\nuid = 0\nnamespaces = [\"default\"]\noperations = [\"tokenize\"]\n";
    let [least]: [Client; 1] = parse(&format!("{LEAST}{least}"), &[]).clients.try_into().unwrap();
    let expected = Client {
        name: "a".into(),
        uid: Some(0),
        gid: None,
        operations: vec![Operation::Tokenize],
        requests_per_second: None,
        reveals_per_minute: None,
        ..expected
    };
    assert_eq!(least, expected);
}

#[test]
fn the_issuer_of_the_example_and_what_is_left_out() {
    let expected = Issuer {
        issuer: "https://id.example.com".into(),
        audience: "shop".into(),
        jwks: Jwks::Url("https://id.example.com/jwks.json".parse().unwrap()),
        session_claim: "sid".into(),
        skew: Duration::from_secs(60),
    };
    let [example]: [Issuer; 1] = parse(EXAMPLE, &[]).sessions.try_into().unwrap();
    assert_eq!(example, expected);
    let least_read = parse(&format!("{LEAST}{ISSUER}"), &[]).sessions;
    let least_expected = Issuer {
        issuer: "i".into(),
        audience: "a".into(),
        jwks: Jwks::File("k.json".into()),
        ..expected
    };
    assert_eq!(least_read, [least_expected]);
    let more = "session_claim = \"s\"\nskew = \"0s\"\n";
    let [read]: [Issuer; 1] =
        parse(&format!("{LEAST}{ISSUER}{more}"), &[]).sessions.try_into().unwrap();
    assert_eq!((read.session_claim.as_str(), read.skew), ("s", Duration::ZERO));
}

#[test]
fn every_field_of_a_client_is_read_into_its_own_place_and_in_order() {
    let text = r#"
        clients = [
            { name = "b", gid = 4294967294, namespaces = ["eu", "us"], operations = ["grants", "delete"], require_grant = true, grant_any_session = true, requests_per_second = 4294967295 },
            { name = "a", uid = 7, gid = 8, namespaces = ["eu"], operations = ["detokenize"], require_purpose = true, reveals_per_minute = 1 },
        ]
    "#;
    let namespaces = |names: &[&str]| {
        Namespaces::These(names.iter().map(|name| Namespace::parse(name).unwrap()).collect())
    };
    let expected = [
        Client {
            name: "b".into(),
            uid: None,
            gid: Some(4_294_967_294),
            namespaces: namespaces(&["eu", "us"]),
            operations: vec![Operation::Grants, Operation::Delete],
            require_grant: true,
            require_purpose: false,
            grant_any_session: true,
            requests_per_second: NonZeroU32::new(u32::MAX),
            reveals_per_minute: None,
        },
        Client {
            name: "a".into(),
            uid: Some(7),
            gid: Some(8),
            namespaces: namespaces(&["eu"]),
            operations: vec![Operation::Detokenize],
            require_grant: false,
            require_purpose: true,
            grant_any_session: false,
            requests_per_second: None,
            reveals_per_minute: NonZeroU32::new(1),
        },
    ];
    assert_eq!(parse(&format!("{LEAST}{text}{ISSUER}"), &[]).clients, expected);
    assert_eq!(parse(&format!("{LEAST}clients = []\n"), &[]).clients, []);
}

#[test]
fn the_example_for_aws() {
    let config = parse(AWS, &[]);
    let endpoint = || Some("http://127.0.0.1:4566".into());
    let storage = S3Place {
        bucket: "lunasec".into(),
        prefix: "tokens/".into(),
        region: "eu-central-1".into(),
        endpoint: endpoint(),
        path_style: true,
    };
    let keys = KmsKeys {
        key_id: "alias/lunasec".into(),
        region: "eu-central-1".into(),
        endpoint: endpoint(),
        accept_key_ids: vec!["arn:aws:kms:eu-central-1:111122223333:key/0123-retired".into()],
        namespaces: [("shop".into(), "alias/lunasec-shop".into())].into(),
    };
    assert_eq!((config.storage, config.keys), (Storage::S3(storage), Keys::Kms(keys)));
}

#[test]
fn lists_tables_and_switches_by_environment() {
    let least = "[storage]\nkind = \"s3\"\nbucket = \"abc\"\nregion = \"r\"\nendpoint = \"https://s3\"\n[keys]\nkind = \"kms\"\nkey_id = \"a\"\nregion = \"r\"\naccept_key_ids = []\n[keys.namespaces]\nshop = \"b\"\n";
    let kms = |pairs: &[(&str, &str)]| match parse(least, pairs).keys {
        Keys::Kms(keys) => (keys.accept_key_ids, keys.namespaces),
        other => panic!("{other:?}"),
    };
    let shop = |key: &str| [("shop".to_owned(), key.to_owned())].into();
    assert_eq!(kms(&[]), (vec![], shop("b")));
    let (ids, namespaces) =
        kms(&[("LUNASEC_KEYS__ACCEPT_KEY_IDS", "c, d"), ("LUNASEC_KEYS__NAMESPACES", "shop=e")]);
    assert_eq!((ids, namespaces), (vec!["c".into(), "d".into()], shop("e")));
    assert_eq!(kms(&[("LUNASEC_KEYS__NAMESPACES", "")]).1, [].into());
    for (text, on) in [("true", true), ("false", false)] {
        match parse(least, &[("LUNASEC_STORAGE__PATH_STYLE", text)]).storage {
            Storage::S3(place) => assert_eq!(place.path_style, on),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_field_is_read_into_its_own_place() {
    let text = r#"
        [listen]
        socket = "lunasec.sock"
        mode = "0600"
        group = "web"
        admin = "off"
        [storage]
        kind = "embedded"
        path = "s"
        [keys]
        kind = "local"
        path = "k"
        [degrade]
        state_dir = "d"
        [limits]
        value = "1 KiB"
        metadata = "2 KiB"
        batch_items = 3
        batch_bytes = "4 KiB"
        connections = 0x5
        requests = 6
        body_bytes_in_flight = "7 KiB"
        request_time = "8s"
        head_time = "1s"
        first_byte_time = "10s"
        idle_time = "11s"
        drain_time = "12s"
        idempotency_entries = 1_3
        [log]
        level = "trace"
        format = "json"
        [sandbox]
        mode = "required"
        [sweep]
        expired_grace = "0s"
        tombstone_grace = "48h"
    "#;
    let seconds = Duration::from_secs;
    let expected = Config {
        listen: Listen {
            socket: "lunasec.sock".into(),
            mode: 0o600,
            group: Some("web".into()),
            admin: None,
        },
        storage: Storage::Embedded { path: "s".into() },
        keys: Keys::Local { path: "k".into() },
        degrade: Degrade { state_dir: Some("d".into()), ..Degrade::default() },
        // See `sections_inside_others`.
        cache: Cache::default(),
        limits: Limits {
            value: 1024,
            metadata: 2048,
            batch_items: 3,
            batch_bytes: 4096,
            connections: 5,
            requests: 6,
            body_bytes_in_flight: 7168,
            request_time: seconds(8),
            head_time: seconds(1),
            first_byte_time: seconds(10),
            idle_time: seconds(11),
            drain_time: seconds(12),
            idempotency_entries: 13,
        },
        audit: Audit::default(),
        log: Log { level: Level::Trace, format: Format::Json },
        clients: Vec::new(),
        sessions: Vec::new(),
        sandbox: Sandbox { mode: Confinement::Required },
        grants: Grants::default(),
        sweep: Sweep { expired_grace: seconds(0), tombstone_grace: seconds(48 * 3600) },
    };
    assert_eq!(parse(text, &[]), expected);
    assert_eq!(parse(&text.replace('\n', "\r\n"), &[]), expected);
    assert_eq!(parse(&format!("\u{feff}{text}"), &[]), expected);
}

#[test]
fn the_environment_wins() {
    let config = parse(
        EXAMPLE,
        &[
            ("LUNASEC_LISTEN__SOCKET", "other.sock"),
            ("LUNASEC_LISTEN__ADMIN", "off"),
            ("LUNASEC_STORAGE__KIND", "memory"),
            ("LUNASEC_LIMITS__REQUESTS", "7"),
            ("LUNASEC_LIMITS__VALUE", "1 KiB"),
            ("LUNASEC_SWEEP__TOMBSTONE_GRACE", "3d"),
        ],
    );
    assert_eq!(config.listen.socket, PathBuf::from("other.sock"));
    assert_eq!(config.listen.admin, None);
    assert_eq!(config.storage, Storage::Memory);
    assert_eq!((config.limits.requests, config.limits.value), (7, 1024));
    assert_eq!(config.sweep.tombstone_grace, Duration::from_secs(3 * 86_400));
}

#[test]
fn the_environment_alone_is_enough() {
    let fields = [
        ("LUNASEC_STORAGE__KIND", "embedded"),
        ("LUNASEC_STORAGE__PATH", "s"),
        ("LUNASEC_KEYS__KIND", "local"),
        ("LUNASEC_KEYS__PATH", "k"),
    ];
    assert_eq!(parse("", &fields).storage, Storage::Embedded { path: "s".into() });
}

#[test]
fn variables_of_others_are_ignored() {
    let others = [("LUNASEC_SOCKET", "x"), ("LUNASEC_", "x"), ("PATH", "x"), ("X__Y", "x")];
    assert_eq!(parse(LEAST, &others), parse(LEAST, &[]));
}

/// The fields of a section and of those inside it.
fn fields_of(section: &str, body: &Value, names: &mut Vec<String>) {
    let body = body.get("items").unwrap_or(body);
    assert_eq!(body["additionalProperties"], false, "{section}");
    for (field, body) in body["properties"].as_object().unwrap() {
        let name = format!("{section}.{field}");
        assert!(body["description"].as_str().unwrap().ends_with('.'), "{name}");
        if body.get("properties").is_some() {
            fields_of(&name, body, names);
            continue;
        }
        assert!(body["default"] != body["examples"], "{name}");
        names.push(name);
    }
}

#[test]
fn the_schema_has_the_fields_of_the_table() {
    let schema = schema();
    let mut names = Vec::new();
    for (section, body) in schema["properties"].as_object().unwrap() {
        fields_of(section, body, &mut names);
    }
    let mut expected: Vec<String> = CONFIG.fields.iter().map(|field| field.full()).collect();
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], serde_json::json!(["storage", "keys"]));
    assert_eq!(schema["properties"]["listen"]["properties"]["mode"]["default"], "0660");
    assert_eq!(schema["properties"]["limits"]["properties"]["requests"]["default"], 1024);
    let storage = &schema["properties"]["storage"];
    let condition = |kind: &str, then: Value, field: &str| {
        serde_json::json!({
            "if": { "properties": { "kind": { "const": kind } } },
            "then": then,
            "else": { "properties": { (field): false } },
        })
    };
    let needs =
        |kind, field: &str| condition(kind, serde_json::json!({"required": [field]}), field);
    let may = |kind, field| condition(kind, true.into(), field);
    assert_eq!(storage["allOf"][0], needs("embedded", "path"));
    assert_eq!(storage["allOf"][1], needs("s3", "bucket"));
    assert_eq!(storage["allOf"][2], may("s3", "prefix"));
    assert_eq!(storage["dependentRequired"], serde_json::json!({"path_style": ["endpoint"]}));
    assert_eq!(storage["properties"]["path_style"]["type"], "boolean");
    let keys = &schema["properties"]["keys"]["properties"];
    assert_eq!(keys["accept_key_ids"]["type"], "array");
    assert_eq!(keys["namespaces"]["examples"][0]["shop"], "alias/lunasec-shop");
    let clients = &schema["properties"]["clients"];
    assert_eq!(clients["type"], "array");
    let client = &clients["items"];
    assert_eq!(client["required"], serde_json::json!(["name", "namespaces", "operations"]));
    assert_eq!(client["anyOf"], serde_json::json!([{"required": ["uid"]}, {"required": ["gid"]}]));
    let operations = &client["properties"]["operations"];
    assert_eq!((&operations["uniqueItems"], &operations["minItems"]), (&true.into(), &1.into()));
    assert_eq!(operations["items"]["enum"].as_array().unwrap().len(), 5);
    assert_eq!(client["properties"]["require_grant"]["default"], false);
    assert_eq!(client["properties"]["reveals_per_minute"]["examples"][0], 600);
}

#[test]
fn the_schema_accepts_the_example() {
    for example in [EXAMPLE, AWS] {
        accepts_all(example);
    }
}

fn accepts_all(example: &str) {
    let schema = schema();
    let table = DeTable::parse(example).unwrap().into_inner();
    for (section, body) in &table {
        let schema = &schema["properties"][section.get_ref().as_ref()];
        match body.get_ref() {
            DeValue::Array(items) => {
                items.iter().for_each(|item| accepts_table(&schema["items"], item.get_ref()))
            }
            table => accepts_table(schema, table),
        }
    }
}

fn accepts_table(schema: &Value, table: &DeValue<'_>) {
    for (name, value) in table.as_table().unwrap() {
        accepts(&schema["properties"][name.get_ref().as_ref()], value.get_ref());
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(table.get(required.as_str().unwrap()).is_some());
    }
}

fn accepts(schema: &Value, value: &DeValue<'_>) {
    match value {
        DeValue::String(text) => {
            assert_eq!(schema["type"], "string", "{text}");
            if let Some(words) = schema["enum"].as_array() {
                assert!(words.iter().any(|word| word == text.as_ref()), "{text}");
            }
        }
        DeValue::Integer(number) => {
            assert_eq!(schema["type"], "integer", "{number}");
            let number: u64 = number.as_str().parse().unwrap();
            assert!(schema["minimum"].as_u64().unwrap() <= number);
            assert!(number <= schema["maximum"].as_u64().unwrap());
        }
        DeValue::Boolean(_) => assert_eq!(schema["type"], "boolean"),
        DeValue::Array(items) => {
            assert_eq!(schema["type"], "array");
            items.iter().for_each(|item| accepts(&schema["items"], item.get_ref()));
        }
        DeValue::Table(_) if schema["properties"].is_object() => accepts_table(schema, value),
        DeValue::Table(pairs) => {
            assert_eq!(schema["type"], "object");
            for (_, text) in pairs {
                accepts(&schema["additionalProperties"], text.get_ref());
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_reference_lists_every_field() {
    let reference = reference();
    assert_eq!(reference.lines().count(), 2 + CONFIG.fields.len());
    for line in [
        "| `listen` | `mode` | `0660` | Permission bits of the socket, in octal. Others than its owner and group are never let in. |",
        "| `listen` | `group` | none | Group that owns the socket. Without it, the group of the process. |",
        "| `storage` | `path` | required with kind `embedded` | The file that holds the records. |",
        "| `storage` | `path_style` | none; with kind `s3` | Whether requests name the bucket in the path instead of the host. Goes with `endpoint`. |",
        "| `cache.grants` | `max` | `16 MiB` | Bytes of memory for them, all that they take included. At most 64 GiB. |",
        "| `limits` | `value` | `1 MiB` | Bytes of one value. At most 1 MiB. |",
        "| `clients` | `uid` | none | The user that it runs as. Without it any, as long as the group fits. |",
        "| `clients` | `require_grant` | `false` | Whether detokenize, metadata and delete need a grant of the user's session. |",
        "| `sweep` | `expired_grace` | `1d` | How long after its expiry a record is kept. |",
    ] {
        assert!(reference.lines().any(|other| other == line), "{line}");
    }
}

/// The same in one line, below its section, and from the environment.
#[test]
fn sections_inside_others() {
    let grants = Remember {
        max: 1 << 20,
        soft: Duration::from_secs(5),
        revocation: Duration::from_secs(6),
        hard: Duration::from_secs(7),
    };
    let fields = ["max = \"1 MiB\"", "soft = \"5s\"", "revocation = \"6s\"", "hard = \"7s\""];
    for name in ["values", "grants"] {
        let expected = match name {
            "values" => Cache { values: grants, ..Cache::default() },
            _ => Cache { grants, ..Cache::default() },
        };
        for text in [
            format!("[cache]\n{name} = {{ {} }}\n", fields.join(", ")),
            format!("[cache.{name}]\n{}\n", fields.join("\n")),
            format!("[cache]\n{name}.{}\n", fields.join(&format!("\n{name}."))),
        ] {
            assert_eq!(parse(&format!("{LEAST}{text}"), &[]).cache, expected, "{text}");
        }
    }
    let pairs = [
        ("LUNASEC_CACHE__GRANTS__MAX", "1 MiB"),
        ("LUNASEC_CACHE__GRANTS__SOFT", "5s"),
        ("LUNASEC_CACHE__GRANTS__REVOCATION", "6s"),
        ("LUNASEC_CACHE__GRANTS__HARD", "7s"),
    ];
    let file = "[cache.grants]\nsoft = \"1s\"\n";
    assert_eq!(parse(&format!("{LEAST}{file}"), &pairs).cache.grants, grants);
}

#[test]
fn what_is_remembered_is_measured_out_at_the_start() {
    let least = parse(LEAST, &[]);
    for field in ["values.max = \"1 MiB\"", "grants.soft = \"1s\"", "values.hard = \"1h\""] {
        let changed = parse(&format!("{LEAST}[cache]\n{field}\n"), &[]);
        assert_eq!(changed.needs_a_restart_after(&least), ["cache"], "{field}");
    }
    assert!(least.needs_a_restart_after(&least).is_empty());
}

/// A clock that is not written goes with those that are.
#[test]
fn clocks_that_are_left_out() {
    let of = |values: &str| {
        let text = format!("{LEAST}[cache]\nvalues = {{ {values} }}\n");
        let Remember { soft, revocation, hard, .. } = parse(&text, &[]).cache.values;
        [soft, revocation, hard].map(|time| time.as_secs())
    };
    let day = 24 * 3600;
    assert_eq!(of(""), [40, 60, day]);
    assert_eq!(of("max = \"64 MiB\", soft = \"5m\", hard = \"24h\""), [300, 300, day]);
    assert_eq!(of("revocation = \"30s\""), [30, 30, day]);
    assert_eq!(of("hard = \"10s\""), [10, 10, 10]);
    assert_eq!(of("soft = \"1s\""), [1, 60, day]);
}

#[test]
fn the_table_is_well_formed() {
    let mut names: Vec<String> = CONFIG.fields.iter().map(|field| field.full()).collect();
    names.dedup();
    assert_eq!(names.len(), CONFIG.fields.len());
    for field in CONFIG.fields {
        assert!(CONFIG.sections.iter().any(|section| section.name == field.section));
        assert!(!field.about.contains('|') && field.about.ends_with('.'), "{}", field.full());
        let mut draft = crate::config::settings::Draft::default();
        assert_eq!(field.kind.read(&field.example(), &mut draft), Ok(()), "{}", field.full());
        assert_eq!(field.kind.show(&mut draft), Some(field.example()));
        if field.kind.shape() == Shape::Whole {
            assert!(field.example().parse::<u64>().is_ok());
        }
        if let crate::config::fields::Kind::Word { words, .. } = field.kind {
            for word in words {
                assert_eq!(field.kind.read(word, &mut draft), Ok(()), "{word}");
                assert_eq!(field.kind.show(&mut draft).as_deref(), Some(*word));
            }
        }
    }
}
