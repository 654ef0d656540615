//! Sizes at their limit, and one beyond.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use lunasec_tests::raw::request;
use serde_json::{Value, json};

use super::Target;

const MIB: usize = 1 << 20;
const TOO_LARGE: &str = "payload_too_large";

#[test]
fn a_value_of_one_mebibyte_however_it_is_spelled() {
    let target = Target::new();
    let text = |size: usize| {
        let planted = &target.value;
        format!("{{\"value\": \"{planted}{}\"}}", "x".repeat(size - planted.len()))
    };
    let wide = |size: usize| {
        format!("{{\"value\": \"{}{}\"}}", "é".repeat(size / 2), "x".repeat(size % 2))
    };
    let escaped = |size: usize| format!("{{\"value\": \"{}\"}}", "\\u0041".repeat(size));
    let bytes = |size: usize| {
        let bytes = [target.value.as_bytes(), &vec![0; size - target.value.len()]].concat();
        format!("{{\"encoding\": \"base64\", \"value\": \"{}\"}}", BASE64.encode(bytes))
    };
    let spellings: [(&str, &dyn Fn(usize) -> String); 4] =
        [("text", &text), ("two bytes each", &wide), ("escaped", &escaped), ("base64", &bytes)];
    for (name, spelling) in spellings {
        target.refuses(name, &post(&spelling(MIB + 1)), 413, TOO_LARGE);
        let fits = target.accepts(name, &post(&spelling(MIB))).json();
        let token = fits["token"].as_str().unwrap();
        let given = target.sidecar.detokenize(token).json()["value"].clone();
        let sent: Value = serde_json::from_str(&spelling(MIB)).unwrap();
        assert!(given == sent["value"], "{name}: another value came back");
    }
    target.assert_unharmed();
}

fn post(body: &str) -> Vec<u8> {
    request("/v1/tokenize", &[], body.as_bytes())
}

#[test]
fn metadata_of_16_kibibytes() {
    let target = Target::new();
    // {"a":"…"} has eight bytes around its text.
    let metadata = |size: usize| format!("{{\"a\":\"{}\"}}", "m".repeat(size - 8));
    let tokenize = |size| post(&format!("{{\"value\": \"v\", \"metadata\": {}}}", metadata(size)));
    let limit = 16 << 10;
    let token = target.accepts("16 KiB", &tokenize(limit)).json()["token"].clone();
    let token = token.as_str().unwrap();
    target.accepts("16 KiB - 1", &tokenize(limit - 1));
    target.refuses("16 KiB + 1", &tokenize(limit + 1), 413, TOO_LARGE);
    let set = |size| {
        let body = format!("{{\"token\": \"{token}\", \"metadata\": {}}}", metadata(size));
        request("/v1/metadata/set", &[], body.as_bytes())
    };
    target.accepts("set 16 KiB", &set(limit));
    target.refuses("set 16 KiB + 1", &set(limit + 1), 413, TOO_LARGE);
    target.refuses("set 1 MiB", &set(MIB), 413, TOO_LARGE);
    // The limit is of the text as it is spelled, spaces and escapes too.
    let spelled = format!("{{\"a\":\"{}\"}}", "\\u0041".repeat(limit / 6));
    let body = format!("{{\"value\": \"v\", \"metadata\": {spelled}}}");
    target.refuses("escaped", &post(&body), 413, TOO_LARGE);
    let found = target.sidecar.post("/v1/metadata/get", &json!({ "token": token })).json();
    assert_eq!(found["metadata"]["a"].as_str().unwrap().len(), limit - 8);
    target.assert_unharmed();
}

#[test]
fn a_batch_body_of_16_mebibytes() {
    let target = Target::new();
    let start = format!("{{\"items\": [{{\"value\": \"{}\"}}", target.value);
    let body = |size: usize| format!("{start}{}]}}", " ".repeat(size - start.len() - 2));
    let batch = |size| request("/v1/tokenize:batch", &[], body(size).as_bytes());
    target.accepts("16 MiB", &batch(16 * MIB));
    target.refuses("16 MiB + 1", &batch(16 * MIB + 1), 413, TOO_LARGE);
    target.refuses("24 MiB", &batch(24 * MIB), 413, TOO_LARGE);
    target.assert_unharmed();
}

#[test]
fn bodies_larger_than_their_route_takes() {
    let target = Target::new();
    for (path, start, limit) in [
        ("/v1/detokenize", "{\"token\": \"TOKEN\"", 4 << 10),
        ("/v1/metadata/get", "{\"token\": \"TOKEN\"", 4 << 10),
        ("/v1/sweep", "{\"dry_run\": true", 4 << 10),
        ("/v1/detokenize:batch", "{\"tokens\": [\"TOKEN\"]", MIB),
        ("/v1/delete", "{\"tokens\": [\"TOKEN\"]", MIB),
        ("/v1/metadata/set", "{\"token\": \"TOKEN\", \"metadata\": {}", (96 << 10) + (4 << 10)),
        ("/v1/tokenize", "{\"value\": \"VALUE\"", 6 * (MIB + (16 << 10)) + (4 << 10)),
    ] {
        let start = target.plant(start);
        let padded = |size: usize| format!("{start}{}}}", " ".repeat(size - start.len() - 1));
        target.refuses(path, &request(path, &[], padded(limit + 1).as_bytes()), 413, TOO_LARGE);
        // In chunks, where no length was declared.
        let body = padded(limit + 1);
        let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let headers = [("transfer-encoding", "chunked")];
        target.refuses(path, &request(path, &headers, chunked.as_bytes()), 413, TOO_LARGE);
        let fits = request(path, &[], padded(limit).as_bytes());
        let mut connection = target.sidecar.connect();
        connection.send(fits).unwrap();
        let answer = connection.answer().unwrap();
        assert!([200, 404].contains(&answer.status), "{path}: {}", answer.text());
    }
    target.assert_unharmed();
}

#[test]
fn lists_of_none_and_of_a_thousand_and_one() {
    let target = Target::new();
    for (path, list, item) in [
        ("/v1/tokenize:batch", "items", "{\"value\": \"VALUE\"}"),
        ("/v1/detokenize:batch", "tokens", "\"TOKEN\""),
        ("/v1/delete", "tokens", "\"TOKEN\""),
    ] {
        for count in [0, 1_001, 5_000] {
            let body = format!("{{\"{list}\": [{}]}}", vec![item; count].join(","));
            let detail = target.refuses_body(path, &body, "invalid_request");
            assert!(detail.contains("1 to 1,000"), "{detail}");
        }
    }
    target.assert_unharmed();
}

#[test]
fn an_answer_that_would_be_too_large_says_which_items_it_left_out() {
    let target = Target::new();
    let letters: Vec<String> =
        (b'a'..=b'r').map(|c| char::from(c).to_string().repeat(MIB)).collect();
    let tokens: Vec<String> = letters.iter().map(|value| target.sidecar.tokenize(value)).collect();
    let small = target.sidecar.tokenize("small");
    let mut asked = tokens.clone();
    asked.push(small);
    let answer = target.sidecar.post("/v1/detokenize:batch", &json!({ "tokens": asked }));
    assert_eq!(answer.status, 200);
    assert!(answer.body.len() <= 16 * MIB, "{} bytes", answer.body.len());
    let answer = answer.json();
    let items = answer["items"].as_array().unwrap();
    assert_eq!(items.len(), asked.len());
    for (index, (item, token)) in items.iter().zip(&asked).enumerate() {
        assert_eq!(item["token"], **token);
        match (index, letters.get(index)) {
            (0..15, Some(value)) => assert!(item["value"] == **value, "item {index}"),
            (_, Some(_)) => assert_eq!(item["error"]["code"], TOO_LARGE, "item {index}"),
            (_, None) => assert_eq!(item["value"], "small"),
        }
    }
    target.assert_unharmed();
}

#[test]
fn an_answer_is_never_larger_than_its_limit_errors_and_all() {
    let target = Target::new();
    let mut asked: Vec<String> =
        (0..15).map(|_| target.sidecar.tokenize(&"x".repeat(MIB))).collect();
    // Fifteen items of 1 MiB and one that would end just below the limit, before many that fail.
    asked.push(target.sidecar.tokenize(&"x".repeat(MIB - 2_000)));
    asked.extend((0..984).map(|n| format!("{n:>900}")));
    let answer = target.sidecar.post("/v1/detokenize:batch", &json!({ "tokens": asked }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.body.len() <= 16 * MIB, "{} bytes", answer.body.len());
    let answer = answer.json();
    let codes: Vec<_> = answer["items"].as_array().unwrap()[14..18]
        .iter()
        .map(|item| item["error"]["code"].as_str())
        .collect();
    let invalid = Some("invalid_token");
    assert_eq!(codes, [None, Some(TOO_LARGE), invalid, invalid]);
    target.assert_unharmed();
}
