//! Every kind of mistake, with its place and what to write instead.

use super::*;
use crate::config::{fields::Kind, kinds, table::CONFIG};

#[test]
fn an_empty_file_is_told_what_to_write() {
    let storage = "f: the section [storage] is missing / write: /   [storage] /   kind = \"embedded\" /   path = \"/var/lib/lunasec/store.redb\"";
    let keys = "f: the section [keys] is missing / write: /   [keys] /   kind = \"local\" /   path = \"/etc/lunasec/local.key\"";
    for empty in ["", "\n\n", "# nothing\n", "[log]\nlevel = \"info\"\n"] {
        assert_eq!(mistakes(empty), [storage, keys], "{empty:?}");
    }
}

#[test]
fn missing_fields_are_reported_at_their_section() {
    assert_eq!(
        mistakes("# é\n[storage]\n\n[keys]\nkind = \"local\"\n"),
        [
            "f:2:1: storage.kind is missing / write kind = \"embedded\"",
            "f:4:1: keys.path is missing, and kind = \"local\" needs it / write path = \"/etc/lunasec/local.key\"",
        ]
    );
    assert_eq!(
        mistakes("  storage = { kind = \"embedded\" }\nkeys.path = \"k\"\n"),
        [
            "f:1:3: storage.path is missing, and kind = \"embedded\" needs it / write path = \"/var/lib/lunasec/store.redb\"",
            "f:2:1: keys.kind is missing / write kind = \"local\"",
        ]
    );
    assert_eq!(
        mistakes_with("", &[("LUNASEC_STORAGE__KIND", "embedded"), ("LUNASEC_KEYS__PATH", "k")]),
        [
            "LUNASEC_KEYS__PATH: keys.kind is missing / set LUNASEC_KEYS__KIND=local",
            "LUNASEC_STORAGE__KIND: storage.path is missing, and kind = \"embedded\" needs it / set LUNASEC_STORAGE__PATH=/var/lib/lunasec/store.redb",
        ]
    );
}

#[test]
fn fields_without_effect() {
    let text =
        "[storage]\nkind = \"memory\"\npath = \"s\"\n[keys]\nkind = \"local\"\npath = \"k\"\n";
    let what = "storage.path has no effect with kind = \"memory\" / remove it, or write kind = \"embedded\"";
    assert_eq!(mistakes(text), [format!("f:3:8: {what}")]);
    assert_eq!(
        mistakes_with(LEAST, &[("LUNASEC_STORAGE__PATH", "s")]),
        [format!("LUNASEC_STORAGE__PATH: {what}")]
    );
}

#[test]
fn unknown_names() {
    assert_eq!(
        more(
            "[lisen]\nsocket = \"\"\n[database]\n[log]\nlevle = \"info\"\nsocket = \"x\"\n\"\\u001b[2J\" = 1\n"
        ),
        [
            "f:3:1: there is no section [lisen] / did you mean [listen]?",
            "f:4:10: listen.socket is \"\", which is empty / write socket = \"/run/lunasec/lunasec.sock\"",
            "f:5:1: there is no section [database] / remove it; the sections are [listen], [storage], [keys], [degrade], [cache], [limits], [log], [audit], [sandbox], [grants], [sweep], [[clients]], [[sessions]]",
            "f:7:1: [log] has no field levle / did you mean level?",
            "f:8:1: [log] has no field socket / move it to [listen]",
            "f:9:1: [log] has no field \"\\u{1b}[2J\" / remove it; the fields of [log] are level, format",
        ]
    );
    assert_eq!(
        mistakes(&format!("socket = \"x\"\nlimit = 3\n{LEAST}")),
        [
            "f:1:1: socket is a field outside of any section / move it to [listen]",
            "f:2:1: limit is a field outside of any section / did you mean [limits]?",
        ]
    );
}

#[test]
fn a_misspelt_name_is_not_also_missing() {
    let text = "[storge]\nkind = \"memory\"\n[keys]\nknd = \"local\"\npath = \"k\"\n";
    assert_eq!(
        mistakes(text),
        [
            "f:1:1: there is no section [storge] / did you mean [storage]?",
            "f:4:1: [keys] has no field knd / did you mean kind?",
        ]
    );
}

#[test]
fn wrong_types() {
    assert_eq!(
        more(
            "[listen]\nmode = 660\nadmin = false\ngroup = [\"a\"]\nsocket = { a = 1 }\n[limits]\nvalue = 1.5\nrequests = \"7\"\nidle_time = 1979-05-27\n[[log]]\n"
        ),
        [
            "f:4:8: listen.mode is a whole number, which should be text in quotes / write mode = \"0660\"",
            "f:5:9: listen.admin is true or false, which should be text in quotes / write admin = \"127.0.0.1:9464\"",
            "f:6:9: listen.group is a list, which should be text in quotes / write group = \"lunasec\"",
            "f:7:10: listen.socket is a table, which should be text in quotes / write socket = \"/run/lunasec/lunasec.sock\"",
            "f:9:9: limits.value is a decimal number, which should be text in quotes / write value = \"1 MiB\"",
            "f:10:12: limits.requests is text, which should be a whole number / write requests = 1024",
            "f:11:13: limits.idle_time is a date or time, which should be text in quotes / write idle_time = \"5m\"",
            "f:12:1: log is a list, which should be one section / write [log] and its fields below",
        ]
    );
    assert_eq!(
        mistakes("storage = 5\nkeys = { kind = \"local\", path = \"k\" }\n"),
        [
            "f:1:1: storage is a whole number, which should be one section / write [storage] and its fields below"
        ]
    );
}

#[test]
fn wrong_values() {
    let long = "s".repeat(108);
    assert_eq!(
        more(&format!("[listen]\nsocket = \"{long}\"\nmode = \"0666\"\ngroup = \"\"\nadmin = \"localhost:1\"\n[log]\nlevel = \"loud\"\nformat = \"jsn\"\n[degrade]\nstate_dir = \"a\\u0000\"\n")),
        [
            format!("f:4:10: listen.socket is \"{}\"…, which has 108 bytes, and the path of a socket has at most 107 / write socket = \"/run/lunasec/lunasec.sock\"", "s".repeat(40)).as_str(),
            "f:5:8: listen.mode is \"0666\", which lets every user of this machine in / write mode = \"0660\": the last digit is 0",
            "f:6:9: listen.group is \"\", which is empty / write group = \"lunasec\", or leave it out",
            "f:7:9: listen.admin is \"localhost:1\", which is not an IP address and a port / write admin = \"127.0.0.1:9464\", in brackets if it is IPv6, or \"off\"",
            "f:9:9: log.level is \"loud\", which is not one of \"error\", \"warn\", \"info\", \"debug\", \"trace\" / write level = \"info\"",
            "f:10:10: log.format is \"jsn\", which is not one of \"text\", \"json\" / write format = \"json\"",
            "f:12:13: degrade.state_dir is \"a\\0\", which has a zero byte in it / write state_dir = \"/var/lib/lunasec\"",
        ]
    );
    assert!(Config::parse(&format!("{LEAST}[listen]\nsocket = \"{}\"", &long[1..]), &[]).is_ok());
}

#[test]
fn wrong_durations_and_sizes() {
    assert_eq!(
        more(
            "[limits]\nvalue = \"1 MB\"\nmetadata = \"0 B\"\nidle_time = \"15 minutes\"\nhead_time = \"0s\"\n[sweep]\nexpired_grace = \"100000d\"\ntombstone_grace = \"47h\"\n"
        ),
        [
            "f:4:9: limits.value is \"1 MB\", which is not a size / write value = \"1 MiB\": a whole number and one of B, KiB, MiB, GiB",
            "f:5:12: limits.metadata is \"0 B\", which is nothing at all / write metadata = \"16 KiB\" or less, but not 0 B",
            "f:6:13: limits.idle_time is \"15 minutes\", which is not a duration / write idle_time = \"5m\": a whole number and one of ms, s, m, h, d",
            "f:7:13: limits.head_time is \"0s\", which is no time at all / write head_time = \"5s\" or less, but not 0s",
            "f:9:17: sweep.expired_grace is \"100000d\", which is more than the maximum, 36500d / write expired_grace = \"36500d\" or less",
            "f:10:19: sweep.tombstone_grace is \"47h\", which is less than the minimum, 2d / write tombstone_grace = \"2d\" or more",
        ]
    );
}

#[test]
fn limits_go_downwards_only() {
    let limits = || CONFIG.fields_of("limits");
    assert_eq!(limits().count(), 13);
    for field in limits() {
        let most = field.example();
        let (over, less, zero) = match &field.kind {
            Kind::Size { most, .. } => (format!("{} B", most + 1), "1 B", "0 MiB"),
            Kind::Count { most, .. } => ((most + 1).to_string(), "1", "0"),
            Kind::Entries { most, .. } => ((most + 1).to_string(), "1", "0"),
            Kind::Time { most, .. } => (format!("{}ms", most.as_millis() + 1), "1ms", "0m"),
            _ => panic!("{}", field.full()),
        };
        let outcome =
            |value: &str| Config::parse(&format!("{LEAST}[limits]\n{}\n", field.line(value)), &[]);
        assert!(outcome(&most).is_ok() && outcome(less).is_ok(), "{}", field.full());
        assert!(outcome(zero).is_err(), "{}", field.full());
        let mistakes = outcome(&over).unwrap_err();
        let column = field.name.len() + 4;
        assert_eq!(mistakes[0].place, Place::Line { line: 4, column }, "{}", field.full());
        assert!(mistakes[0].what.ends_with(&format!("maximum, {most}")), "{mistakes:?}");
        assert_eq!(mistakes[0].instead, format!("write {} or less", field.line(&most)));
    }
    assert_eq!(kinds::show_size(lunasec_core::limits::VALUE_BYTES), "1 MiB");
}

#[test]
fn numbers_of_any_size() {
    let huge = "9".repeat(60);
    assert_eq!(
        more(&format!(
            "[limits]\nrequests = -5\nconnections = 0x10000\nbatch_items = {huge}\nidempotency_entries = 0\n"
        )),
        [
            "f:4:12: limits.requests is -5, which is less than one / write requests = 1024 or less, but not 0",
            "f:5:15: limits.connections is 65536, which is more than the maximum, 1024 / write connections = 1024 or less",
            &format!(
                "f:6:15: limits.batch_items is \"{}\"…, which is more than the maximum, 1000 / write batch_items = 1000 or less",
                "9".repeat(40)
            ),
            "f:7:23: limits.idempotency_entries is 0, which is less than one / write idempotency_entries = 1000000 or less, but not 0",
        ]
    );
}

#[test]
fn records_that_have_nowhere_to_go_or_to_wait() {
    let wait = "audit.sink needs degrade.state_dir, where records wait for it / write state_dir = \"/var/lib/lunasec\"";
    let go = "audit.path is missing, and this sink needs it / write path = \"/var/log/lunasec/audit.jsonl\"";
    let none = "audit.path has no effect with this sink / remove it, or write sink = \"file\"";
    let dir = "[degrade]\nstate_dir = \"d\"\n[audit]\n";
    let little = "audit.spool_bytes is \"1 MiB\", which is less than the minimum, 4 MiB / write spool_bytes = \"4 MiB\" or more";
    let small = format!("{dir}sink = \"stdout\"\nspool_bytes = \"1 MiB\"\n");
    assert_eq!(more(&small), [format!("f:7:15: {little}")]);
    assert_eq!(more("[audit]\nsink = \"stdout\"\n"), [format!("f:4:8: {wait}")]);
    for sink in ["file", "both"] {
        assert_eq!(more(&format!("{dir}sink = \"{sink}\"\n")), [format!("f:6:8: {go}")]);
        let good = format!("{LEAST}{dir}sink = \"{sink}\"\npath = \"a\"\n");
        assert!(Config::parse(&good, &[]).is_ok(), "{sink}");
    }
    for sink in ["sink = \"stdout\"\n", "sink = \"off\"\n", ""] {
        let line = 6 + sink.lines().count();
        let found = more(&format!("{dir}{sink}path = \"a\"\n"));
        assert_eq!(found, [format!("f:{line}:8: {none}")], "{sink}");
    }
}

#[test]
fn a_journal_that_has_nowhere_to_be_nothing_to_bridge_or_no_end_in_time() {
    let nowhere = "degrade.on_storage_outage = \"journal\" needs degrade.state_dir, where the journal lies / write state_dir = \"/var/lib/lunasec\"";
    let nothing = "degrade.on_storage_outage = \"journal\" has no effect without storage.kind = \"s3\": this store lies on the same machine / remove it, or write kind = \"s3\"";
    let late = "degrade.journal_age is not a day less than sweep.tombstone_grace: what was deleted meanwhile could come back / keep tombstones for longer, or the journal for less";
    let journal = "[degrade]\non_storage_outage = \"journal\"\n";
    let at = |what: &str| format!("f:4:21: {what}");
    assert_eq!(more(journal), [at(nowhere), at(nothing)]);
    assert_eq!(more(&format!("{journal}state_dir = \"d\"\n")), [at(nothing)]);
    let late_at = |line: usize, column: usize| format!("f:{line}:{column}: {late}");
    let dir = format!("{journal}state_dir = \"d\"\n");
    let age = |age| format!("{dir}journal_age = \"{age}\"\n[sweep]\ntombstone_grace = \"7d\"\n");
    assert_eq!(more(&age("7d")), [at(nothing), late_at(6, 15)]);
    assert_eq!(more(&age("6d")), [at(nothing)]);
    let grace = format!("{dir}[sweep]\ntombstone_grace = \"2d\"\n");
    assert_eq!(more(&grace), [at(nothing), late_at(7, 19)]);
    for good in
        ["[sweep]\ntombstone_grace = \"2d\"\n", "[degrade]\non_storage_outage = \"reject\"\n"]
    {
        assert!(Config::parse(&format!("{LEAST}{good}"), &[]).is_ok(), "{good}");
    }
}

#[test]
fn a_standby_key_beside_what_it_protects() {
    let what = "degrade.standby_key_file lies in degrade.state_dir: whoever has that directory would have the data keys, too / keep the key elsewhere, such as standby_key_file = \"/etc/lunasec/standby.key\"";
    let of = |directory: &str, key: &str| {
        format!("[degrade]\nstate_dir = \"{directory}\"\nstandby_key_file = \"{key}\"\n")
    };
    let beside = [("/s", "/s/k"), ("/s/", "/s/a/b/k"), ("/x/../s/./", "/s/k"), ("s", "./s/k")];
    for (directory, key) in beside {
        assert_eq!(more(&of(directory, key)), [format!("f:5:20: {what}")], "{directory} {key}");
    }
    let variable = [("LUNASEC_DEGRADE__STANDBY_KEY_FILE", "/s/k")];
    assert_eq!(
        mistakes_with(&format!("{LEAST}[degrade]\nstate_dir = \"/s\"\n"), &variable),
        [format!("LUNASEC_DEGRADE__STANDBY_KEY_FILE: {what}")]
    );
    for (directory, key) in [("/s", "/s.key"), ("/s", "/s/../k"), ("/s/t", "/s/k"), ("s", "../s/k")]
    {
        let text = format!("{LEAST}{}", of(directory, key));
        assert!(Config::parse(&text, &[]).is_ok(), "{directory} {key}");
    }
}

#[test]
fn grants_that_would_all_be_refused() {
    let what = "grants.default is more than grants.maximum / give the maximum the longer time";
    assert_eq!(more("[grants]\nmaximum = \"10m\"\n"), [format!("f:4:11: {what}")]);
    let both = "[grants]\nmaximum = \"10m\"\ndefault = \"11m\"\n";
    assert_eq!(more(both), [format!("f:5:11: {what}")]);
    assert_eq!(
        mistakes_with(LEAST, &[("LUNASEC_GRANTS__DEFAULT", "25h")]),
        [format!("LUNASEC_GRANTS__DEFAULT: {what}")]
    );
}

#[test]
fn clocks_that_do_not_come_one_after_the_other() {
    let text = |text: &str| format!("[cache]\n{text}\n");
    let instead = "give soft the shortest time, and hard the longest";
    let values = "values = { soft = \"5m\", revocation = \"4m\" }";
    let more_than = |section: &str, one: &str, other: &str| {
        format!("cache.{section}.{one} is more than cache.{section}.{other} / {instead}")
    };
    let expected = format!("f:4:19: {}", more_than("values", "soft", "revocation"));
    assert_eq!(more(&text(values)), [expected]);
    let grants = "[cache.grants]\nrevocation = \"20m\"\n";
    let expected = format!("f:4:14: {}", more_than("grants", "revocation", "hard"));
    assert_eq!(more(grants), [expected]);
    let pairs = [("LUNASEC_CACHE__VALUES__SOFT", "25h")];
    let expected =
        format!("LUNASEC_CACHE__VALUES__SOFT: {}", more_than("values", "soft", "revocation"));
    assert_eq!(mistakes_with(LEAST, &pairs), [expected]);
}

#[test]
fn what_is_wrong_inside_a_section_inside_another() {
    let text = "[cache]\nvalues = { max = \"0 B\", sft = \"1s\", hard = 5 }\ngrants = 7\nvalue = {}\nsoft = \"1s\"\n[cache.tokens]\n";
    assert_eq!(
        more(text),
        [
            "f:4:18: cache.values.max is \"0 B\", which is nothing at all / write max = \"64 MiB\" or less, but not 0 B",
            "f:4:25: [cache.values] has no field sft / did you mean soft?",
            "f:4:44: cache.values.hard is a whole number, which should be text in quotes / write hard = \"1d\"",
            "f:5:10: cache.grants is a whole number, which should be a table / write [cache.grants] and its fields below",
            "f:6:1: [cache] has no field value / did you mean [cache.values]?",
            "f:7:1: [cache] has no field soft / move it to [cache.values] or [cache.grants]",
            "f:8:8: [cache] has no field tokens / remove it; the fields of [cache] are values, grants",
        ]
    );
    let pairs = [("LUNASEC_CACHE__VALUES__MAX", "65 GiB"), ("LUNASEC_CACHE__GRANTS__MAXX", "1 B")];
    assert_eq!(
        mistakes_with(LEAST, &pairs),
        [
            "LUNASEC_CACHE__GRANTS__MAXX: there is no such setting / did you mean LUNASEC_CACHE__GRANTS__MAX?",
            "LUNASEC_CACHE__VALUES__MAX: cache.values.max is \"65 GiB\", which is more than the maximum, 64 GiB / set LUNASEC_CACHE__VALUES__MAX=64 GiB or less",
        ]
    );
    assert_eq!(
        more("cache = 1\n"),
        [
            "f:3:1: cache is a whole number, which should be one section / write [cache] and its fields below"
        ]
    );
}

#[test]
fn s3_and_kms() {
    let text = "[storage]\nkind = \"s3\"\nbucket = \"B_\"\nprefix = \"a\"\nendpoint = \"http://10.0.0.1\"\npath = \"s\"\n\
        [keys]\nkind = \"kms\"\nkey_id = \"a b\"\naccept_key_ids = [\"a\", 1]\nnamespaces = { Shop = \"a\" }\nregion = \"r\"\nendpoint = \"ftp://x\"\n";
    assert_eq!(
        mistakes(text),
        [
            "f:1:1: storage.region is missing, and kind = \"s3\" needs it / write region = \"eu-central-1\"",
            "f:3:10: storage.bucket is \"B_\", which is not a bucket's name / write bucket = \"lunasec\": 3 to 63 of a-z, 0-9, . and -",
            "f:4:10: storage.prefix is \"a\", which does not end with a slash / write prefix = \"a/\"",
            "f:5:12: storage.endpoint is \"http://10.0.0.1\", which has no TLS and is not a loopback address: whoever is on the way could read data keys / write endpoint = \"http://127.0.0.1:4566\", or use https",
            "f:6:8: storage.path has no effect with kind = \"s3\" / remove it, or write kind = \"embedded\"",
            "f:9:10: keys.key_id is \"a b\", which is not a KMS key / write key_id = \"alias/lunasec\", an alias as alias/name, a key's id, or an ARN",
            "f:10:18: keys.accept_key_ids is a list, which should be a list of texts / write accept_key_ids = [\"arn:aws:kms:eu-central-1:111122223333:key/0123-retired\"]",
            "f:11:14: keys.namespaces is \"Shop=a\", which has a name that is none: a namespace is 1 to 63 characters of a-z, 0-9 and -, and starts with a letter or digit / write namespaces = { shop = \"alias/lunasec-shop\" }",
            "f:13:12: keys.endpoint is \"ftp://x\", which is neither http nor https / write endpoint = \"http://127.0.0.1:4566\"",
        ]
    );
    let least = "[storage]\nkind = \"memory\"\nbucket = \"abc\"\npath_style = true\n[keys]\nkind = \"local\"\npath = \"k\"\nregion = \"r\"\n";
    assert_eq!(
        mistakes(least),
        [
            "f:3:10: storage.bucket has no effect with kind = \"memory\" / remove it, or write kind = \"s3\"",
            "f:4:14: storage.path_style has no effect with kind = \"memory\" / remove it, or write kind = \"s3\"",
            "f:8:10: keys.region has no effect with kind = \"local\" / remove it, or write kind = \"kms\"",
        ]
    );
    let alone = "[storage]\nkind = \"s3\"\nbucket = \"abc\"\nregion = \"r\"\npath_style = true\n[keys]\nkind = \"local\"\npath = \"k\"\n";
    assert_eq!(
        mistakes(alone),
        [
            "f:5:14: storage.path_style has no effect without storage.endpoint / remove it, or write endpoint = \"http://127.0.0.1:4566\"",
        ]
    );
}

#[test]
fn variables_are_named() {
    let pairs = [
        ("LUNASEC_LISTEN__MODE", "0777"),
        ("LUNASEC_LISTEN__SOCKT", "x"),
        ("LUNASEC_FOO__BAR", "x"),
        ("LUNASEC_CACHE__VALUES", "x"),
        ("LUNASEC_STORAGE__BUCKET", "abc"),
        ("LUNASEC_STORAGE__KIND", "s4"),
        ("LUNASEC_LIMITS__REQUESTS", "many"),
        ("LUNASEC_DEGRADE__STATE_DIR", ""),
        ("LUNASEC_log__level", "info"),
        ("LUNASEC_SOCKET", "ignored"),
    ];
    assert_eq!(
        mistakes_with(LEAST, &pairs),
        [
            "LUNASEC_CACHE__VALUES: there is no such setting / did you mean LUNASEC_CACHE__VALUES__MAX?",
            "LUNASEC_DEGRADE__STATE_DIR: degrade.state_dir is \"\", which is empty / set LUNASEC_DEGRADE__STATE_DIR=/var/lib/lunasec",
            "LUNASEC_FOO__BAR: there is no such setting / unset it; a variable is LUNASEC_, a section, two underscores and a field",
            "LUNASEC_LIMITS__REQUESTS: limits.requests is \"many\", which is not a whole number / set LUNASEC_LIMITS__REQUESTS=1024, in digits",
            "LUNASEC_LISTEN__MODE: listen.mode is \"0777\", which lets every user of this machine in / set LUNASEC_LISTEN__MODE=0770: the last digit is 0",
            "LUNASEC_LISTEN__SOCKT: there is no such setting / did you mean LUNASEC_LISTEN__SOCKET?",
            "LUNASEC_STORAGE__KIND: storage.kind is \"s4\", which is not one of \"embedded\", \"s3\", \"memory\" / set LUNASEC_STORAGE__KIND=s3",
            "LUNASEC_log__level: there is no such setting / did you mean LUNASEC_LOG__LEVEL?",
        ]
    );
}

/// A client of that name, for that user and group, and what else it says.
fn client(name: &str, ids: &str, operations: &str, more: &str) -> String {
    format!(
        "[[clients]]\nname = {name:?}\n{ids}\nnamespaces = [\"default\"]\noperations = [{operations}]\n{more}\n"
    )
}

#[test]
fn values_of_clients() {
    let text = r#"
[[clients]]
name = "Shop"
uid = -1
gid = 4294967295
namespaces = ["*"]
operations = ["*"]
requests_per_second = 0
reveals_per_minute = 9999999999
[[clients]]
name = 7
uid = "root"
namespaces = []
operations = ["tokenise", "delete", "metdata"]
require_grant = "yes"
[[clients]]
name = "a"
uid = 1
namespaces = ["eu", "E U"]
operations = ["delete", "delete"]
[[clients]]
name = "b"
uid = 2
namespaces = ["eu", "eu"]
operations = ["sweep"]
"#;
    let all =
        "write operations = [\"tokenize\", \"detokenize\", \"metadata\", \"grants\", \"delete\"]";
    let words =
        "which is not one of \"tokenize\", \"detokenize\", \"metadata\", \"grants\", \"delete\"";
    let default = "write namespaces = [\"default\"]";
    assert_eq!(
        more(text),
        [
            "f:5:8: clients.name is \"Shop\", which is not a client's name / write name = \"shop\": 1 to 63 of a-z, 0-9 and -".into(),
            "f:6:7: clients.uid is -1, which is less than nothing / write uid = 10001, 0 or more".into(),
            "f:7:7: clients.gid is 4294967295, which is more than the maximum, 4294967294 / write gid = 4294967294 or less".into(),
            format!("f:8:14: clients.namespaces is \"*\", which does not say where / {default}: each namespace by its name"),
            format!("f:9:14: clients.operations is \"*\", which does not say what / {all}: each operation by its name"),
            "f:10:23: clients.requests_per_second is 0, which is less than one / write requests_per_second = 5000, or leave it out for no bound".into(),
            "f:11:22: clients.reveals_per_minute is 9999999999, which is more than the maximum, 4294967295 / write reveals_per_minute = 4294967295 or less".into(),
            "f:13:8: clients.name is a whole number, which should be text in quotes / write name = \"shop\"".into(),
            "f:14:7: clients.uid is text, which should be a whole number / write uid = 10001".into(),
            format!("f:15:14: clients.namespaces is [], which is empty / {default}"),
            format!("f:16:14: clients.operations is \"tokenise,delete,metdata\", which has \"tokenise\", {words} / write operations = [\"tokenize\", \"delete\", \"metadata\"]"),
            "f:17:17: clients.require_grant is text, which should be true or false / write require_grant = false".into(),
            format!("f:21:14: clients.namespaces is \"eu,E U\", which has \"E U\", but a namespace is 1 to 63 characters of a-z, 0-9 and -, and starts with a letter or digit / {default}"),
            format!("f:22:14: clients.operations is \"delete,delete\", which has \"delete\" twice / {all}"),
            format!("f:26:14: clients.namespaces is \"eu,eu\", which has \"eu\" twice / {default}"),
            format!("f:27:14: clients.operations is \"sweep\", which has \"sweep\", {words} / {all}"),
        ]
    );
}

#[test]
fn what_a_client_lacks_is_told_for_each() {
    assert_eq!(
        more(&format!(
            "[[clients]]\n[[clients]]\nnmae = \"a\"\nuid = 1\nsocket = 1\ncolour = 1\n{}",
            client("a", "", "\"delete\"", "")
        )),
        [
            "f:3:1: clients.name is missing / write name = \"shop\"",
            "f:3:1: clients.namespaces is missing / write namespaces = [\"default\"]",
            "f:3:1: clients.operations is missing / write operations = [\"tokenize\", \"detokenize\", \"metadata\", \"grants\", \"delete\"]",
            "f:3:1: clients.uid and clients.gid are both missing / write uid = 10001, or gid, or both",
            "f:4:1: clients.namespaces is missing / write namespaces = [\"default\"]",
            "f:4:1: clients.operations is missing / write operations = [\"tokenize\", \"detokenize\", \"metadata\", \"grants\", \"delete\"]",
            "f:5:1: [[clients]] has no field nmae / did you mean name?",
            "f:7:1: [[clients]] has no field socket / move it to [listen]",
            "f:8:1: [[clients]] has no field colour / remove it; the fields of [[clients]] are name, uid, gid, namespaces, operations, require_grant, require_purpose, grant_any_session, requests_per_second, reveals_per_minute",
            "f:9:1: clients.uid and clients.gid are both missing / write uid = 10001, or gid, or both",
        ]
    );
}

#[test]
fn clients_that_are_no_list() {
    let below = "write [[clients]] and its fields below";
    assert_eq!(
        more("[clients]\nname = \"a\"\n"),
        [format!(
            "f:3:1: clients is a table, which should be a list of sections / {below}, once for each"
        )]
    );
    assert_eq!(
        more("clients = [\"a\", { name = \"A\" }]\n"),
        [
            format!("f:3:12: clients holds text, which should be a table / {below}"),
            "f:3:26: clients.name is \"A\", which is not a client's name / write name = \"shop\": 1 to 63 of a-z, 0-9 and -".into(),
        ]
    );
    assert_eq!(
        more("[[client]]\nuid = \"a\"\n"),
        [
            "f:3:1: there is no section [client] / did you mean [[clients]]?",
            "f:3:1: clients.name is missing / write name = \"shop\"",
            "f:3:1: clients.namespaces is missing / write namespaces = [\"default\"]",
            "f:3:1: clients.operations is missing / write operations = [\"tokenize\", \"detokenize\", \"metadata\", \"grants\", \"delete\"]",
            "f:4:7: clients.uid is text, which should be a whole number / write uid = 10001",
        ]
    );
}

#[test]
fn a_broken_line_of_a_client_is_not_also_missing() {
    let text = client("a", "uid = ten", "\"delete\"", "")
        + &client("b", "uid = 2", "\"delete\", ", "name");
    let found = more(&text);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("f:5:7: this is not TOML: "), "{found:#?}");
    assert!(found[0].ends_with("write uid = 10001"), "{found:#?}");
    assert!(found[1].starts_with("f:14:5: this is not TOML: "), "{found:#?}");
    let found = more(&client("a", "uid = 1", "\"delete\"", "").replace("]]", "]"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("f:3:"), "{found:#?}");
}

#[test]
fn clients_that_nobody_can_be() {
    let some = "\"delete\"";
    let text = client("user", "uid = 1", some, "")
        + &client("both", "uid = 1\ngid = 2", some, "")
        + &client("group", "gid = 2", some, "")
        + &client("again", "gid = 2", some, "")
        + &client("other", "uid = 3\ngid = 3", some, "");
    assert_eq!(
        more(&text),
        [
            "f:9:1: the client \"both\" can never be anyone: whoever fits it fits \"user\", at line 3, which comes first / move it above \"user\", or remove it",
            "f:22:1: the client \"again\" can never be anyone: whoever fits it fits \"group\", at line 16, which comes first / make one of the two, or give them different users or groups",
        ]
    );
    let narrow_first = client("both", "uid = 1\ngid = 2", some, "")
        + &client("user", "uid = 1", some, "")
        + &client("group", "gid = 2", some, "");
    assert!(Config::parse(&format!("{LEAST}{narrow_first}"), &[]).is_ok());
}

#[test]
fn two_clients_have_two_names() {
    let some = "\"delete\"";
    let text = client("shop", "uid = 1", some, "") + &client("shop", "uid = 2", some, "");
    assert_eq!(
        more(&text),
        ["f:10:8: \"shop\" is the name of another, at line 4 / give each a name of its own"]
    );
}

#[test]
fn what_a_client_says_to_no_effect() {
    let all = "require_grant = true\nrequire_purpose = true\ngrant_any_session = true\nreveals_per_minute = 9";
    assert_eq!(
        more(&(client("a", "uid = 1", "\"tokenize\"", all) + ISSUER)),
        [
            "f:8:17: clients.require_grant has no effect without the operation detokenize or metadata or delete / remove it, or add detokenize or metadata or delete to operations",
            "f:9:19: clients.require_purpose has no effect without the operation detokenize / remove it, or add detokenize to operations",
            "f:10:21: clients.grant_any_session has no effect without the operation grants / remove it, or add grants to operations",
            "f:11:22: clients.reveals_per_minute has no effect without the operation detokenize / remove it, or add detokenize to operations",
        ]
    );
    let none = all.replace("true", "false").replace("reveals_per_minute = 9", "");
    for (operations, more) in [
        ("\"tokenize\"", none.as_str()),
        ("\"detokenize\", \"grants\"", all),
        ("\"delete\"", "require_grant = true"),
    ] {
        let text = format!("{LEAST}{}{ISSUER}", client("a", "uid = 1", operations, more));
        assert_eq!(Config::parse(&text, &[]).err(), None, "{operations}");
    }
    let any = client("a", "uid = 1", "\"grants\"", "grant_any_session = true");
    let what = "clients.grant_any_session has no effect without [[sessions]]: any client may grant to any session / remove it, or write a [[sessions]]";
    assert_eq!(more(&any), [format!("f:8:21: {what}")]);
}

#[test]
fn issuers() {
    assert_eq!(
        more(&format!("{ISSUER}{ISSUER}")),
        [
            "f:7:1: this issuer and audience have another [[sessions]], at line 3 / remove one of the two"
        ]
    );
    let elsewhere = ISSUER.replace("\"a\"", "\"b\"").replace("k.json", "other.json");
    assert_eq!(
        more(&format!("{ISSUER}{elsewhere}")),
        [
            "f:10:8: this issuer has its keys elsewhere too, at line 3 / write the same jwks for both"
        ]
    );
    let two = format!("{LEAST}{ISSUER}{}", ISSUER.replace("\"a\"", "\"b\""));
    assert_eq!(Config::parse(&two, &[]).map(|config| config.sessions.len()), Ok(2));
    let bad = ISSUER.replace("k.json", "http://id.example.com/k.json") + "skew = \"10m\"\n";
    assert_eq!(
        more(&bad),
        [
            "f:6:8: sessions.jwks is \"http://id.example.com/k.json\", which has no TLS and is not a loopback address: whoever is on the way could put keys there / write jwks = \"https://id.example.com/jwks.json\", or use https",
            "f:7:8: sessions.skew is \"10m\", which is more than the maximum, 5m / write skew = \"5m\" or less",
        ]
    );
    assert_eq!(
        more("[[sessions]]\n"),
        [
            "f:3:1: sessions.issuer is missing / write issuer = \"https://id.example.com\"",
            "f:3:1: sessions.audience is missing / write audience = \"shop\"",
            "f:3:1: sessions.jwks is missing / write jwks = \"https://id.example.com/jwks.json\"",
        ]
    );
}

#[test]
fn variables_do_not_declare_clients() {
    let names = [
        "LUNASEC_CLIENTS",
        "LUNASEC_CLIENTS__0__UID",
        "LUNASEC_CLIENTS__UID",
        "LUNASEC_clients__x",
    ];
    let pairs = names.map(|name| (name, "1"));
    let expected = names.map(|name| {
        format!("{name}: clients cannot be set by variables / unset it, and write [[clients]] in the file")
    });
    assert_eq!(mistakes_with(LEAST, &pairs), expected);
}

#[test]
fn duplicates() {
    assert_eq!(
        more("[log]\nlevel = \"info\"\nlevel = \"warn\"\n[sweep]\n[log]\nformat = \"x\"\n"),
        [
            "f:5:1: \"level\" is here for the second time / keep one of the two",
            "f:7:2: \"log\" is here for the second time / keep one of the two",
            "f:8:10: log.format is \"x\", which is not one of \"text\", \"json\" / write format = \"text\"",
        ]
    );
}

#[test]
fn syntax_errors_do_not_hide_the_rest() {
    let quoting = "this is not TOML: string values must be quoted, expected literal string";
    let expected = [
        "f:1:5: this is not TOML: key with no value, expected `=` / write a [section], or name = value with text in double quotes".into(),
        format!("f:3:10: {quoting} / write socket = \"/run/lunasec/lunasec.sock\""),
        "f:4:8: this is not TOML: unexpected leading zero, expected nothing / write mode = \"0660\"".into(),
        "f:5:9: listen.admin is \"here\", which is not an IP address and a port / write admin = \"127.0.0.1:9464\", in brackets if it is IPv6, or \"off\"".into(),
        "f:7:6: this is not TOML: key with no value, expected `=` / write path = \"/etc/lunasec/local.key\"".into(),
        "f:9:1: there is no section [lgo] / did you mean [log]?".into(),
    ];
    let text = "oops\n[listen]\nsocket = /run/x\nmode = 0660\nadmin = \"here\"\n[keys]\npath \"k\"\nkind = \"local\"\n[lgo]\n";
    assert_eq!(mistakes(text), expected);
    assert_eq!(mistakes(&text.replace('\n', "\r\n")), expected);
}

#[test]
fn what_a_broken_line_sets_is_not_missing_and_the_rest_is() {
    assert_eq!(
        mistakes("[storage]\nkind = embedded\n[keys]\nkind = \"local\"\n"),
        [
            "f:2:8: this is not TOML: string values must be quoted, expected literal string / write kind = \"embedded\"",
            "f:3:1: keys.path is missing, and kind = \"local\" needs it / write path = \"/etc/lunasec/local.key\"",
        ]
    );
    assert_eq!(
        mistakes("[storage\nkind = \"embedded\"\n[keys]\nkind = \"local\"\n"),
        [
            "f:1:9: this is not TOML: unclosed table, expected `]` / write a [section], or name = value with text in double quotes",
            "f:3:1: keys.path is missing, and kind = \"local\" needs it / write path = \"/etc/lunasec/local.key\"",
        ]
    );
}

#[test]
fn a_broken_line_in_a_misspelt_section_is_recognized() {
    assert_eq!(
        mistakes("[storge]\nkind = memory\nkeys = {}\n[keys]\nkind = \"local\"\npath = \"k\"\n"),
        [
            "f:1:1: there is no section [storge] / did you mean [storage]?",
            "f:2:8: this is not TOML: string values must be quoted, expected literal string / write kind = \"embedded\"",
            "f:3:1: [storage] has no field keys / remove it; the fields of [storage] are kind, path, bucket, prefix, region, endpoint, path_style",
        ]
    );
}

#[test]
fn what_is_never_closed_is_reported_where_it_begins() {
    for open in ["group = [\"a\",", "group = \"\"\"a"] {
        let found = more(&format!("[listen]\n{open}\nmode = \"0666\"\n[log]\nlevel = 1\n"));
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found[0].starts_with("f:4:1: this is not TOML: "), "{found:#?}");
        assert!(found[0].ends_with("write group = \"lunasec\""), "{found:#?}");
        assert!(found[1].starts_with("f:5:8: listen.mode is "), "{found:#?}");
        assert!(found[2].starts_with("f:7:9: log.level is "), "{found:#?}");
    }
}

#[test]
fn what_is_no_section_cannot_be_extended() {
    let found =
        mistakes(&format!("log = 1\n{LEAST}[log.x] # y\nz = 1\n[sweep]\nexpired_grace = 1\n"));
    let expected = [
        "f:1:1: log is a whole number, which should be one section / write [log] and its fields below",
        "f:4:2: this is not TOML: cannot extend value of type integer with a dotted key / write a [section], or name = value with text in double quotes",
        "f:7:17: sweep.expired_grace is a whole number, which should be text in quotes / write expired_grace = \"1d\"",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_header_in_order_keeps_its_section() {
    let found = more("[log] info\nlevel = 1\n[lo g]\nx = 1\n[log.x]\n");
    let starts = [
        "f:3:7: this is not TOML",
        "f:4:9: log.level is",
        "f:5:4: this is not",
        "f:7:6: [log] has no field x",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (line, start) in found.iter().zip(starts) {
        assert!(line.starts_with(start), "{found:#?}");
    }
}

#[test]
fn stray_carriage_returns() {
    let found = more("[log]\r\r\nlevel = 1\r\nformat\r = \"text\"\r\n[keys\r");
    let places: Vec<&str> = found.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(places, ["f:3:7:", "f:4:9:", "f:5:7:", "f:6:6:"], "{found:#?}");
    let found = mistakes(&"?\n".repeat(100));
    assert_eq!(found.len(), 32);
}

#[test]
fn columns_are_right_after_any_text() {
    let found = more("[log]\nlevel\t=\t1\n");
    assert!(found[0].starts_with("f:4:9: log.level is a whole number"), "{found:#?}");
    let found = mistakes(
        "log = { \"é€𝄞\" = 2, format = 3 }\nstorage.kind = \"memory\" \r\nkeys.kind = 'é' # \r\n",
    );
    assert_eq!(
        found.iter().map(|line| line.split(' ').next().unwrap()).collect::<Vec<_>>(),
        ["f:1:9:", "f:1:29:", "f:3:13:"]
    );
    let found = mistakes(&format!("\u{feff}x = 1\n{LEAST}"));
    assert!(found[0].starts_with("f:1:1: x is a field"), "{found:#?}");
}
