//! Replays `tests/contract/*.json`; its README is the format's definition.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use lunasec_tests::{Answer, Sidecar, raw, sidecar};
use serde_json::{Map, Value, json};

#[test]
fn every_case_is_answered_as_it_says() {
    replay_all(&Sidecar::dev());
}

/// Replays every case.
pub(crate) fn replay_all(sidecar: &Sidecar) {
    let mut ids = HashSet::new();
    let mut wrong = Vec::new();
    let files = files();
    for (file, cases) in &files {
        let mut names = HashSet::new();
        for case in cases {
            let name = case["name"].as_str().expect("a case has a name");
            assert!(names.insert(name), "{file}: {name} is there twice");
            assert!(matches!(case["level"].as_str(), Some("api" | "wire")), "{file}: {name}");
            let mut replay = Replay::new(sidecar, &mut ids);
            for (step, number) in case["steps"].as_array().expect("steps").iter().zip(1..) {
                if let Err(words) = replay.step(step) {
                    wrong.push(format!("{file}: {name}: step {number}: {words}"));
                    break;
                }
            }
        }
    }
    assert!(files.len() >= 9, "the cases are missing");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_pattern_matches_what_it_says_and_nothing_else() {
    let token = "lunasec-00112233-4455-4677-8899-aabbccddeeff";
    let good = [
        (json!({"a": 1}), json!({"a": 1, "b": 2}), false),
        (json!([1, {"$is": "string"}]), json!([1, "x"]), true),
        (json!({"a": {"$absent": true}}), json!({"b": 1}), false),
        (json!({"$is": "token"}), json!(token), true),
        (json!({"$is": "time"}), json!("2025-11-24T00:00:00.123Z"), true),
        (json!({"$not": "x"}), json!("y"), true),
        (json!({"$repeat": [2, 1]}), json!([1, 1]), true),
    ];
    for (pattern, value, exact) in good {
        matches(&pattern, Some(&value), exact).unwrap();
    }
    let bad = [
        (json!({"a": 1}), json!({"a": 1, "b": 2}), true),
        (json!({"a": 1}), json!({"a": 2}), false),
        (json!({"a": 1}), json!({}), false),
        (json!([1]), json!([1, 2]), false),
        (json!({"a": {"$absent": true}}), json!({"a": null}), false),
        (json!({"$is": "token"}), json!("4111"), true),
        (json!({"$is": "token"}), json!(token.to_uppercase()), true),
        (json!({"$is": "time"}), json!("yesterday"), true),
        (json!({"$is": "text"}), json!(""), true),
        (json!({"$not": "x"}), json!("x"), true),
        (json!({"$repeat": [2, 1]}), json!([1, 2]), true),
    ];
    for (pattern, value, exact) in bad {
        assert!(matches(&pattern, Some(&value), exact).is_err(), "{pattern} {value}");
    }
}

fn files() -> Vec<(String, Vec<Value>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("contract");
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let cases = serde_json::from_str(&text);
            (name.clone(), cases.unwrap_or_else(|error| panic!("{name}: {error}")))
        })
        .collect();
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    files
}

/// One case under way.
struct Replay<'a> {
    sidecar: &'a Sidecar,
    variables: HashMap<String, String>,
    /// The request ids of all answers so far.
    ids: &'a mut HashSet<String>,
}

type Verdict = Result<(), String>;

impl<'a> Replay<'a> {
    fn new(sidecar: &'a Sidecar, ids: &'a mut HashSet<String>) -> Self {
        let variables = HashMap::from([
            ("unique".to_owned(), sidecar::random_hex(8)),
            ("unknown_token".to_owned(), sidecar::unknown_token()),
        ]);
        Self { sidecar, variables, ids }
    }

    fn step(&mut self, step: &Value) -> Verdict {
        let expect = self.expand(&step["expect"])?;
        let until = Instant::now() + Duration::from_secs(10);
        let answer = loop {
            let answer = self.send(&step["request"])?;
            self.check_always(&answer)?;
            match check(&expect, &answer) {
                Ok(()) => break answer,
                Err(_) if expect["eventually"] == true && Instant::now() < until => {}
                Err(words) => return Err(words),
            }
        };
        for (name, pointer) in step["capture"].as_object().into_iter().flatten() {
            let found = answer.json();
            let found = found.pointer(pointer.as_str().unwrap()).and_then(Value::as_str);
            let found = found.ok_or_else(|| format!("nothing to capture at {pointer}"))?;
            self.variables.insert(name.clone(), found.to_owned());
        }
        Ok(())
    }

    fn send(&self, request: &Value) -> Result<Answer, String> {
        let method = request["method"].as_str().expect("a method");
        let path = self.text(request["path"].as_str().expect("a path"))?;
        let body = match (&request["body_text"], request.get("body")) {
            (Value::String(text), None) => Some(self.text(text)?),
            (_, Some(body)) => Some(repeated(&self.expand(body)?).to_string()),
            _ => None,
        };
        let mut headers = vec![("host".to_owned(), "localhost".to_owned())];
        if let Some(body) = &body {
            headers.push(("content-type".into(), "application/json".into()));
            headers.push(("content-length".into(), body.len().to_string()));
        }
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            headers.retain(|(other, _)| other != name);
            if let Some(value) = value.as_str() {
                headers.push((name.clone(), self.text(value)?));
            }
        }
        let head = raw::head(method, &path, &headers);
        let mut connection = self.sidecar.connect();
        connection.send([head.as_bytes(), body.unwrap_or_default().as_bytes()].concat()).unwrap();
        connection.answer().map_err(|error| format!("no answer: {error}"))
    }

    /// What holds for every answer of a healthy sidecar.
    fn check_always(&mut self, answer: &Answer) -> Verdict {
        let header = |name: &str| answer.headers.get(name).map(String::as_str);
        let id = header("lunasec-request-id").ok_or("no lunasec-request-id")?;
        ensure(self.ids.insert(id.to_owned()), "a request id came twice")?;
        for name in ["lunasec-degraded", "age"] {
            ensure(header(name).is_none(), &format!("a healthy sidecar sends {name}"))?;
        }
        let body = answer.json();
        if answer.status < 400 {
            ensure(header("content-type") == Some("application/json"), "not application/json")?;
            return match body["items"].as_array() {
                Some(items) => items.iter().try_for_each(check_item),
                None => Ok(()),
            };
        }
        let kind = Some("application/problem+json");
        ensure(header("content-type") == kind, "an error is application/problem+json")?;
        let code = body["code"].as_str().ok_or("no code")?;
        let problem = json!({
            "type": format!("urn:lunasec:error:{code}"), "title": {"$is": "text"},
            "status": answer.status, "detail": {"$is": "text"}, "code": {"$is": "text"},
            "retryable": {"$is": "boolean"},
        });
        matches(&problem, Some(&body), false)
    }

    /// Puts the variables into every string.
    fn expand(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => Value::String(self.text(text)?),
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.expand(item)).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let members =
                    members.iter().map(|(key, value)| Ok((key.clone(), self.expand(value)?)));
                Value::Object(members.collect::<Result<_, String>>()?)
            }
            other => other.clone(),
        })
    }

    fn text(&self, text: &str) -> Result<String, String> {
        let mut parts = text.split("${");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').ok_or("a variable without its end")?;
            match name.strip_prefix("repeat:").and_then(|name| name.split_once(':')) {
                Some((times, what)) => out.push_str(&what.repeat(times.parse().unwrap())),
                None => {
                    let value = self.variables.get(name);
                    out.push_str(value.ok_or_else(|| format!("{name} was never captured"))?);
                }
            }
            out.push_str(rest);
        }
        Ok(out)
    }
}

/// `{"$repeat": [n, item]}` in a request.
fn repeated(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(repeated).collect(),
        Value::Object(members) => match members.get("$repeat") {
            Some(repeat) => {
                vec![repeat[1].clone(); repeat[0].as_u64().unwrap().try_into().unwrap()].into()
            }
            None => {
                let members = members.iter().map(|(key, value)| (key.clone(), repeated(value)));
                Value::Object(members.collect::<Map<_, _>>())
            }
        },
        other => other.clone(),
    }
}

fn check_item(item: &Value) -> Verdict {
    let error = json!({
        "code": {"$is": "text"}, "detail": {"$is": "text"}, "retryable": {"$is": "boolean"},
    });
    item.get("error").map_or(Ok(()), |found| matches(&error, Some(found), true))
}

fn check(expect: &Value, answer: &Answer) -> Verdict {
    let text = answer.text();
    let shown: String = text.chars().take(300).collect();
    let status = &expect["status"];
    ensure(*status == answer.status, &format!("{} instead of {status}: {shown}", answer.status))?;
    for (name, value) in expect["headers"].as_object().into_iter().flatten() {
        let found = answer.headers.get(name);
        let equal = found.map(String::as_str) == value.as_str();
        ensure(equal, &format!("{name} is {found:?} instead of {value}"))?;
    }
    if let Some(pattern) = expect.get("body") {
        let exact = expect["exact"] == true;
        matches(pattern, Some(&answer.json()), exact)
            .map_err(|words| format!("{words} in {shown}"))?;
    }
    for (member, wanted) in [("body_contains", true), ("body_lacks", false)] {
        for part in expect[member].as_array().into_iter().flatten() {
            let found = text.contains(part.as_str().unwrap());
            ensure(found == wanted, &format!("{member} {part}: {shown}"))?;
        }
    }
    Ok(())
}

fn matches(pattern: &Value, value: Option<&Value>, exact: bool) -> Verdict {
    if let Some((question, parameter)) = question(pattern) {
        return ask(question, parameter, value, exact);
    }
    let value = value.ok_or("a member is missing")?;
    match (pattern, value) {
        (Value::Object(members), Value::Object(found)) => {
            for (key, pattern) in members {
                matches(pattern, found.get(key), exact)
                    .map_err(|words| format!("{key}: {words}"))?;
            }
            let more = found.keys().find(|key| exact && !members.contains_key(*key));
            more.map_or(Ok(()), |key| Err(format!("{key} is one member too many")))
        }
        (Value::Array(items), Value::Array(found)) => {
            ensure(items.len() == found.len(), &format!("{} items", found.len()))?;
            let mut both = items.iter().zip(found);
            both.try_for_each(|(pattern, found)| matches(pattern, Some(found), exact))
        }
        _ => ensure(pattern == value, &format!("not {}", shortened(pattern))),
    }
}

/// The `$…` of an object that is a question.
fn question(pattern: &Value) -> Option<(&str, &Value)> {
    let (key, parameter) =
        pattern.as_object().filter(|members| members.len() == 1)?.iter().next()?;
    key.strip_prefix('$').map(|question| (question, parameter))
}

fn ask(question: &str, parameter: &Value, value: Option<&Value>, exact: bool) -> Verdict {
    match (question, value) {
        ("absent", None) => Ok(()),
        ("absent", Some(_)) => Err("is there".into()),
        (_, None) => Err("a member is missing".into()),
        ("is", Some(value)) => {
            let kind = parameter.as_str().unwrap();
            ensure(is(kind, value), &format!("is no {kind}"))
        }
        ("not", Some(value)) => match matches(parameter, Some(value), exact) {
            Ok(()) => Err("is what it must not be".into()),
            Err(_) => Ok(()),
        },
        ("repeat", Some(value)) => {
            let items = value.as_array().ok_or("is no array")?;
            ensure(parameter[0] == items.len(), &format!("{} items", items.len()))?;
            items.iter().try_for_each(|item| matches(&parameter[1], Some(item), exact))
        }
        _ => panic!("${question} is no question"),
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "text" => value.as_str().is_some_and(|text| !text.is_empty()),
        "token" => {
            value.as_str().is_some_and(|text| lunasec_core::token::Token::parse(text).is_ok())
        }
        "time" => value.as_str().is_some_and(is_time),
        _ => panic!("{kind} is no kind"),
    }
}

/// `2025-11-24T00:00:00Z`, with or without a fraction.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else { return false };
    rest == "Z" || rest.strip_prefix('.').is_some_and(|rest| rest.trim_start_matches('0') == "Z")
}

fn ensure(condition: bool, words: &str) -> Verdict {
    if condition { Ok(()) } else { Err(words.into()) }
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(100).collect()
}
