//! Bodies that are not what the route takes.

use lunasec_tests::raw::request;

use super::Target;

const TOKENIZE: &str = "/v1/tokenize";
const BATCH: &str = "/v1/tokenize:batch";
const DETOKENIZE: &str = "/v1/detokenize";
const DETOKENIZE_BATCH: &str = "/v1/detokenize:batch";
const METADATA_GET: &str = "/v1/metadata/get";
const METADATA_SET: &str = "/v1/metadata/set";
const DELETE: &str = "/v1/delete";
const SWEEP: &str = "/v1/sweep";

const INVALID: &str = "invalid_request";

#[test]
fn not_json_at_all() {
    let target = Target::new();
    let bodies = [
        "",
        " ",
        "VALUE",
        "\"VALUE\"",
        "VALUE=1&token=TOKEN",
        "<value>VALUE</value>",
        "{",
        "{\"value\"",
        "{\"value\": ",
        "{\"value\": \"VALUE",
        "{\"value\": \"VALUE\"",
        "{\"value\": \"VALUE\",",
        "{\"value\": \"VALUE\",}",
        "{'value': 'VALUE'}",
        "{value: \"VALUE\"}",
        "{\"value\": \"VALUE\"} VALUE",
        "{\"value\": \"VALUE\"}{\"value\": \"VALUE\"}",
        "{\"value\": \"VALUE\"}]",
        "{\"value\": \"VALUE\"}\0",
        "\u{feff}{\"value\": \"VALUE\"}",
        "// VALUE\n{\"value\": \"VALUE\"}",
        "{\"value\": \"VALUE\" /* VALUE */}",
        "{\"value\": \"VALUE\u{1}\"}",
        "{\"value\": \"VALUE\n\"}",
        "{\"value\": \"VALUE\\x41\"}",
        "{\"value\": \"VALUE\\u00g0\"}",
        "{\"value\": NaN}",
        "{\"value\": Infinity}",
        "{\"value\": -Infinity}",
        "{\"value\": 0x4111}",
        "{\"value\": +1}",
        "{\"value\": 01}",
        "{\"value\": TRUE}",
    ];
    for body in bodies {
        let detail = target.refuses_body(TOKENIZE, body, INVALID);
        assert!(detail.len() < 200, "{detail}");
    }
    for (path, body) in [
        (BATCH, "{\"items\": [{\"value\": \"VALUE\"}"),
        (DETOKENIZE, "{\"token\": \"TOKEN\""),
        (DETOKENIZE_BATCH, "{\"tokens\": [\"TOKEN\", ]}"),
        (METADATA_GET, "TOKEN"),
        (METADATA_SET, "{\"token\": \"TOKEN\", \"metadata\": {\"a\": \"VALUE\"}"),
        (DELETE, "{\"tokens\": [\"TOKEN\"]"),
        (SWEEP, ""),
    ] {
        target.refuses_body(path, body, INVALID);
    }
    target.assert_unharmed();
}

#[test]
fn bytes_that_are_no_text() {
    let target = Target::new();
    let bodies: [&[u8]; 6] = [
        b"{\"value\": \"VALUE\xff\"}",
        b"{\"value\": \"VALUE\xc0\xaf\"}",
        b"{\"value\": \"VALUE\xed\xa0\x80\"}",
        b"{\"value\": \"v\", \"metadata\": {\"VALUE\": \"\xff\"}}",
        b"{\"value\": \"v\", \"metadata\": {\"VALUE\xff\": 1}}",
        b"\x1f\x8b\x08\x00VALUE",
    ];
    for body in bodies {
        let name = String::from_utf8_lossy(body).into_owned();
        let at = body.windows(5).position(|window| window == b"VALUE").unwrap();
        let body = [&body[..at], target.value.as_bytes(), &body[at + 5..]].concat();
        target.refuses(&name, &request(TOKENIZE, &[], &body), 400, INVALID);
    }
    target.assert_unharmed();
}

#[test]
fn lone_surrogates() {
    let target = Target::new();
    for escape in ["\\ud800", "\\udc00", "\\ud800\\u0041", "\\udc00\\ud800", "\\ud800\\ud800"] {
        for (path, body) in [
            (TOKENIZE, "{\"value\": \"VALUE#\"}"),
            (TOKENIZE, "{\"value\": \"v\", \"expires_in\": \"#\"}"),
            (TOKENIZE, "{\"value\": \"v\", \"#\": \"VALUE\"}"),
            (TOKENIZE, "{\"value\": \"v\", \"metadata\": {\"a\": [\"VALUE#\"]}}"),
            (TOKENIZE, "{\"value\": \"v\", \"metadata\": {\"VALUE#\": 1}}"),
            (BATCH, "{\"items\": [{\"value\": \"VALUE#\"}]}"),
            (DETOKENIZE, "{\"token\": \"TOKEN#\"}"),
            (DETOKENIZE_BATCH, "{\"tokens\": [\"TOKEN#\"]}"),
            (METADATA_SET, "{\"token\": \"TOKEN\", \"metadata\": {\"a\": \"VALUE#\"}}"),
            (DELETE, "{\"tokens\": [\"TOKEN#\"]}"),
        ] {
            target.refuses_body(path, &body.replace('#', escape), INVALID);
        }
    }
    // A whole pair is a character.
    let pair =
        request(TOKENIZE, &[], br#"{"value": "\ud83c\udf19", "metadata": {"\ud83c\udf19": 1}}"#);
    let token = target.accepts("a pair", &pair).json()["token"].as_str().unwrap().to_owned();
    assert_eq!(target.sidecar.detokenize(&token).json()["value"], "🌙");
    target.assert_unharmed();
}

#[test]
fn keys_that_stand_twice() {
    let target = Target::new();
    for (path, body) in [
        (TOKENIZE, "{\"value\": \"VALUE\", \"value\": \"VALUE\"}"),
        (TOKENIZE, "{\"value\": \"VALUE\", \"\\u0076alue\": \"VALUE\"}"),
        (TOKENIZE, "{\"value\": \"v\", \"metadata\": {}, \"metadata\": {\"a\": \"VALUE\"}}"),
        (TOKENIZE, "{\"value\": \"v\", \"encoding\": \"utf8\", \"encoding\": \"utf8\"}"),
        (TOKENIZE, "{\"value\": \"v\", \"metadata\": {\"VALUE\": 1, \"VALUE\": 1}}"),
        (TOKENIZE, "{\"value\": \"v\", \"metadata\": {\"a\": 1, \"\\u0061\": 1}}"),
        (
            TOKENIZE,
            "{\"value\": \"v\", \"metadata\": {\"a\": [{\"b\": {\"VALUE\": 1, \"VALUE\": 2}}]}}",
        ),
        (BATCH, "{\"items\": [{\"value\": \"VALUE\", \"value\": \"VALUE\"}]}"),
        (BATCH, "{\"items\": [{\"value\": \"VALUE\"}], \"items\": [{\"value\": \"VALUE\"}]}"),
        (DETOKENIZE, "{\"token\": \"TOKEN\", \"token\": \"TOKEN\"}"),
        (DETOKENIZE_BATCH, "{\"tokens\": [\"TOKEN\"], \"tokens\": [\"TOKEN\"]}"),
        (
            METADATA_SET,
            "{\"token\": \"TOKEN\", \"metadata\": {\"a\": {\"VALUE\": 1, \"VALUE\": 1}}}",
        ),
        (METADATA_SET, "{\"token\": \"TOKEN\", \"metadata\": {}, \"token\": \"TOKEN\"}"),
        (DELETE, "{\"tokens\": [\"TOKEN\"], \"tokens\": []}"),
        (SWEEP, "{\"dry_run\": true, \"dry_run\": true}"),
    ] {
        target.refuses_body(path, body, INVALID);
    }
    // In an item of a batch it is that item's failure.
    let items =
        r#"{"items": [{"value": "v", "metadata": {"a": {"b": 1, "b": 1}}}, {"value": "v"}]}"#;
    let answer = target.accepts("an item", &request(BATCH, &[], items.as_bytes())).json();
    assert_eq!(answer["items"][0]["error"]["code"], INVALID);
    assert!(answer["items"][1]["token"].is_string());
    target.assert_unharmed();
}

#[test]
fn nesting_without_end() {
    let target = Target::new();
    for deep in [33, 128, 1_000, 100_000] {
        let (arrays, ends) = ("[".repeat(deep), "]".repeat(deep));
        let (objects, object_ends) = ("{\"a\":".repeat(deep), "}".repeat(deep));
        for nested in [
            format!("{arrays}{ends}"),
            format!("{arrays}\"VALUE\"{ends}"),
            format!("{objects}\"VALUE\"{object_ends}"),
            arrays.clone(),
            objects.clone(),
        ] {
            target.refuses_too_deep(TOKENIZE, &format!("{{\"value\": {nested}}}"));
            target.refuses_too_deep(TOKENIZE, &format!("{{\"other\": {nested}}}"));
            target.refuses_too_deep(
                TOKENIZE,
                &format!("{{\"value\": \"v\", \"metadata\": {{\"a\": {nested}}}}}"),
            );
            target.refuses_too_deep(BATCH, &format!("{{\"items\": {nested}}}"));
            target.refuses_too_deep(TOKENIZE, &nested);
        }
    }
    // 32 levels are metadata, the outermost object among them.
    let deepest = format!("{{\"a\": {}1{}}}", "[".repeat(31), "]".repeat(31));
    let body = format!("{{\"value\": \"v\", \"metadata\": {deepest}}}");
    target.accepts("32 levels", &request(TOKENIZE, &[], body.as_bytes()));
    target.assert_unharmed();
}

impl Target {
    /// As too deep, or as too large: both are right.
    fn refuses_too_deep(&self, path: &str, body: &str) {
        let name: String = body.chars().take(60).collect();
        let bytes = request(path, &[], self.plant(body).as_bytes());
        let answer = self.send(&name, &bytes).unwrap_or_else(|| panic!("{name}: no answer"));
        let code = answer.code();
        assert!([INVALID, "payload_too_large"].contains(&code.as_str()), "{name}: {code}");
    }
}

#[test]
fn types_that_are_wrong() {
    let target = Target::new();
    for wrong in
        ["null", "true", "4111", "4111.5", "-1", "[]", "[\"VALUE\"]", "{}", "{\"a\": \"VALUE\"}"]
    {
        for (path, body) in [
            (TOKENIZE, "{\"value\": #}"),
            (BATCH, "{\"items\": [#]}"),
            (BATCH, "{\"items\": [{\"value\": #}]}"),
            (DETOKENIZE, "{\"token\": #}"),
            (DETOKENIZE_BATCH, "{\"tokens\": [#]}"),
            (METADATA_GET, "{\"token\": #}"),
            (METADATA_SET, "{\"token\": #, \"metadata\": {}}"),
            (DELETE, "{\"tokens\": [#]}"),
            (SWEEP, "{\"dry_run\": #, \"nothing\": 1}"),
        ] {
            target.refuses_body(path, &body.replace('#', wrong), INVALID);
        }
    }
    for wrong in [
        "true",
        "4111",
        "[]",
        "{}",
        "\"VALUE\"",
        "\"UTF8\"",
        "\"base64url\"",
        "\"\"",
        "{\"utf8\": null}",
    ] {
        let body = format!("{{\"value\": \"VALUE\", \"encoding\": {wrong}}}");
        target.refuses_body(TOKENIZE, &body, INVALID);
    }
    for wrong in ["true", "4111", "\"VALUE\"", "[\"VALUE\"]"] {
        let body = format!("{{\"value\": \"v\", \"metadata\": {wrong}}}");
        target.refuses_body(TOKENIZE, &body, INVALID);
    }
    for wrong in ["null", "true", "4111", "\"VALUE\"", "[\"VALUE\"]"] {
        let body = format!("{{\"token\": \"TOKEN\", \"metadata\": {wrong}}}");
        target.refuses_body(METADATA_SET, &body, INVALID);
    }
    for wrong in ["\"1\"", "-1", "1.5", "18446744073709551616", "1e3", "\"VALUE\"", "[]"] {
        let body = format!("{{\"token\": \"TOKEN\", \"metadata\": {{}}, \"if_version\": {wrong}}}");
        target.refuses_body(METADATA_SET, &body, INVALID);
    }
    for (path, body) in [
        (TOKENIZE, "[{\"value\": \"VALUE\"}]"),
        (TOKENIZE, "[\"VALUE\"]"),
        (TOKENIZE, "[\"VALUE\", \"utf8\", {}, \"1h\"]"),
        (TOKENIZE, "null"),
        (TOKENIZE, "{\"items\": [{\"value\": \"VALUE\"}]}"),
        (BATCH, "{\"value\": \"VALUE\"}"),
        (BATCH, "{\"items\": {\"value\": \"VALUE\"}}"),
        (BATCH, "{\"items\": null}"),
        (BATCH, "[[{\"value\": \"VALUE\"}]]"),
        (BATCH, "[{\"value\": \"VALUE\"}]"),
        (DETOKENIZE_BATCH, "{\"tokens\": \"TOKEN\"}"),
        (DETOKENIZE_BATCH, "[\"TOKEN\"]"),
        (DETOKENIZE, "[\"TOKEN\"]"),
        (METADATA_GET, "[\"TOKEN\"]"),
        (METADATA_SET, "[\"TOKEN\", {}]"),
        (DELETE, "[[\"TOKEN\"]]"),
        (SWEEP, "[]"),
        (DELETE, "{\"token\": \"TOKEN\"}"),
        (DELETE, "{\"tokens\": null}"),
    ] {
        target.refuses_body(path, body, INVALID);
    }
    target.assert_unharmed();
}

#[test]
fn unknown_fields_are_named_only_when_they_look_like_a_name() {
    let target = Target::new();
    let longest = "x".repeat(32);
    for name in ["ttl", "expires_at", "_", &longest] {
        for (path, body) in [
            (TOKENIZE, "{\"value\": \"VALUE\", \"#\": \"VALUE\"}"),
            (BATCH, "{\"items\": [{\"value\": \"VALUE\", \"#\": 1}]}"),
            (BATCH, "{\"items\": [{\"value\": \"VALUE\"}], \"#\": 1}"),
            (DETOKENIZE, "{\"token\": \"TOKEN\", \"#\": {\"VALUE\": 1}}"),
            (DETOKENIZE_BATCH, "{\"#\": 1, \"tokens\": [\"TOKEN\"]}"),
            (METADATA_GET, "{\"token\": \"TOKEN\", \"#\": null}"),
            (METADATA_SET, "{\"token\": \"TOKEN\", \"metadata\": {}, \"#\": []}"),
            (DELETE, "{\"tokens\": [\"TOKEN\"], \"#\": 1}"),
            (SWEEP, "{\"#\": 1}"),
        ] {
            let detail = target.refuses_body(path, &body.replace('#', name), INVALID);
            assert!(detail.contains(&format!("unknown field {name} ")), "{detail}");
        }
    }
    let too_long = "x".repeat(33);
    for name in ["VALUE", "TOKEN", "Ttl", "ttl2", "a b", "", "é", "tt`l", "a\\u0000", &too_long] {
        let body = format!("{{\"value\": \"VALUE\", \"{name}\": 1}}");
        let detail = target.refuses_body(TOKENIZE, &body, INVALID);
        assert!(detail.contains("unknown field ("), "{name}: {detail}");
    }
    target.assert_unharmed();
}

#[test]
fn tokens_that_are_none() {
    let target = Target::new();
    for token in [
        "",
        "VALUE",
        "TOKEN ",
        " TOKEN",
        "TOKEN0",
        "TOKEN\\u0000",
        "lunasec-",
        "lunasec-00112233-4455-1677-8899-aabbccddeeff",
        "LUNASEC-00112233-4455-4677-8899-AABBCCDDEEFF",
        "00112233-4455-4677-8899-aabbccddeeff",
    ] {
        for (path, body) in [
            (DETOKENIZE, "{\"token\": \"#\"}"),
            (METADATA_GET, "{\"token\": \"#\"}"),
            (METADATA_SET, "{\"token\": \"#\", \"metadata\": {\"a\": \"VALUE\"}}"),
        ] {
            target.refuses_body(path, &body.replace('#', token), "invalid_token");
        }
    }
    target.assert_unharmed();
}

#[test]
fn base64_that_is_none() {
    let target = Target::new();
    for value in [
        "VALUE!",
        "A",
        "AA",
        "AAA",
        "AAA==",
        "AA=",
        "AA===",
        "=",
        "====",
        "AAAA=",
        "AA==AAAA",
        "AAAA\\n",
        "AAA A",
        " AAAA",
        "-_-_",
        "AB==",
        "QUJDRF==",
        "\\u0000AAA",
        "éAAA",
    ] {
        let body = format!("{{\"value\": \"{value}\", \"encoding\": \"base64\"}}");
        target.refuses_body(TOKENIZE, &body, INVALID);
    }
    target.assert_unharmed();
}

#[test]
fn durations_that_are_none() {
    let target = Target::new();
    for time in [
        "",
        "VALUE",
        "0s",
        "0ms",
        "0d",
        "-1h",
        "+1h",
        "1.5h",
        "1",
        "h",
        "1 h",
        "1h ",
        " 1h",
        "1H",
        "1w",
        "1h30m",
        "1e3s",
        "100001d",
        "36501d",
        "876001h",
        "3153600001s",
        "18446744073709551615d",
        "99999999999999999999s",
        "forever",
        "PT1H",
        "2030-01-01T00:00:00Z",
        "१h",
    ] {
        let body = format!("{{\"value\": \"VALUE\", \"expires_in\": \"{time}\"}}");
        target.refuses_body(TOKENIZE, &body, INVALID);
    }
    for time in ["0", "3600", "true", "{\"VALUE\": 1}"] {
        let body = format!("{{\"value\": \"VALUE\", \"expires_in\": {time}}}");
        target.refuses_body(TOKENIZE, &body, INVALID);
    }
    target.assert_unharmed();
}
