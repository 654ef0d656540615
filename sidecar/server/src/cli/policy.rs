//! `lunasec policy test`: what the policy of a configuration says to some calls, by the same lines as
//! the sidecar. Rates, the grants themselves and whether a JWT is a good one are not part of it.

use std::{fmt, fs, path::PathBuf, process::ExitCode};

use lunasec_core::policy::{Client, Operation, Policy as Rules, Proof};

use super::{FAILED, Outcome, Stop, USAGE, check, print};
use crate::config::{Case, Jwt, Verdict};

/// Arguments of `lunasec policy`.
#[derive(clap::Args)]
pub(super) struct Policy {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Check that calls are decided as they should be
    Test(Test),
}

#[derive(clap::Args)]
struct Test {
    /// Calls and what should come of them
    cases: PathBuf,
    /// The configuration whose clients decide
    #[arg(long, default_value = "lunasec.toml")]
    config: PathBuf,
    /// The user that the sidecar runs as; without it, yours
    #[arg(long)]
    own_uid: Option<u32>,
}

impl Policy {
    pub(super) fn run(self) -> Outcome {
        let Command::Test(test) = self.command;
        test.run()
    }
}

impl Test {
    fn run(self) -> Outcome {
        let (config, cases) = match (check::load(&self.config), self.cases()) {
            (Ok(config), Ok(cases)) => (config, cases),
            (Err(stop), Ok(_)) | (Ok(_), Err(stop)) => return Err(stop),
            (Err(one), Err(other)) => {
                return Err(Stop::new(USAGE, format!("{}\n{}", one.words, other.words)));
            }
        };
        let own = self.own_uid.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        let proven = !config.sessions.is_empty();
        let rules = Rules::new(Client::own(own), config.clients);
        let mut failed = 0_usize;
        for case in &cases {
            let decision = Decision::of(&rules, proven, case);
            failed += usize::from(!decision.is_expected(case));
            print(&format!("{}\n", decision.line(case)))?;
        }
        match failed {
            0 => Ok(ExitCode::SUCCESS),
            _ => Err(Stop::new(
                FAILED,
                format!("{failed} of {} cases are not decided as expected", cases.len()),
            )),
        }
    }

    fn cases(&self) -> Result<Vec<Case>, Stop> {
        let file = self.cases.display().to_string();
        let text = fs::read_to_string(&self.cases).map_err(|error| {
            Stop::new(USAGE, format!("{file} cannot be read: {error}; name a file of cases"))
        })?;
        Case::parse(&text).map_err(|wrong| check::mistakes(&file, "cases", &wrong))
    }
}

/// What came of a call, and which rule decided.
struct Decision<'a> {
    verdict: Verdict,
    client: Option<&'a str>,
    rule: Option<String>,
}

impl<'a> Decision<'a> {
    /// `proven` where there are issuers, so that a session counts only with its JWT.
    fn of(rules: &'a Rules, proven: bool, case: &Case) -> Self {
        match rules.admit(&case.caller, case.operation, case.namespace.clone()) {
            Err(refused) => Self {
                verdict: Verdict::Deny,
                client: refused.client.map(|client| client.name.as_str()),
                rule: Some(refused.denied.to_string()),
            },
            Ok((client, _)) => {
                let needs = client.needs(case.operation);
                let lacks = session(client, proven, case).map_or_else(Some, |session| {
                    needs.missing(session, case.purpose).map(|missing| missing.to_string())
                });
                let grant = needs.grant.then(|| "if the session has a grant".to_owned());
                Self {
                    verdict: if lacks.is_some() { Verdict::Deny } else { Verdict::Allow },
                    client: Some(&client.name),
                    rule: lacks.or(grant),
                }
            }
        }
    }

    fn is_client(&self, case: &Case) -> bool {
        case.client.is_none() || case.client.as_deref() == self.client
    }

    fn is_expected(&self, case: &Case) -> bool {
        self.verdict == case.expect && self.is_client(case)
    }

    /// The line of a case: whether all is well, what came of it, and why.
    fn line(&self, case: &Case) -> String {
        let name = &case.name;
        if self.is_expected(case) {
            return format!("ok    {name}: {self}");
        }
        let mut line = format!("FAIL  {name}: {self}; expected {}", case.expect.as_str());
        if let Some(client) = case.client.as_deref().filter(|_| !self.is_client(case)) {
            line.push_str(&format!(" by {client:?}"));
        }
        line
    }
}

/// Whether the call is made in a session, or why what it says of one is refused.
fn session(client: &Client, proven: bool, case: &Case) -> Result<bool, String> {
    match case.jwt {
        _ if case.operation == Operation::Status => return Ok(false),
        Jwt::Same | Jwt::Other if !proven => {
            return Err("a JWT where no [[sessions]] are configured".into());
        }
        _ => {}
    }
    if proven {
        let proof = match case.jwt {
            Jwt::None => Proof::Missing,
            Jwt::Same => Proof::Same,
            Jwt::Other => Proof::Other,
        };
        // One beside the call, and one in the body of every grant.
        let names = [(case.session, false), (case.operation == Operation::Grants, true)];
        for (_, in_body) in names.into_iter().filter(|(named, _)| *named) {
            client.may_name(proof, in_body).map_err(|why| why.to_string())?;
        }
    }
    Ok(if proven { case.jwt != Jwt::None } else { case.session })
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verdict.as_str())?;
        if let Some(client) = self.client {
            write!(f, " by {client:?}")?;
        }
        match &self.rule {
            Some(rule) => write!(f, ": {rule}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const CONFIG: &str = r#"
        storage.kind = "memory"
        keys = { kind = "local", path = "k" }
        [[clients]]
        name = "strict"
        uid = 10
        namespaces = ["shop", "eu"]
        operations = ["tokenize", "detokenize", "metadata", "grants"]
        require_grant = true
        require_purpose = true
        [[clients]]
        name = "group"
        gid = 20
        namespaces = ["default"]
        operations = ["delete"]
    "#;

    const ISSUER: &str = r#"
        [[clients]]
        name = "trusted"
        uid = 30
        namespaces = ["shop"]
        operations = ["detokenize", "grants"]
        grant_any_session = true
        require_grant = true
        [[sessions]]
        issuer = "https://id.test"
        audience = "shop"
        jwks = "/keys.json"
    "#;

    fn lines(cases: &[&str]) -> Vec<String> {
        lines_of(CONFIG, cases)
    }

    /// The lines of cases that are each one line, in a policy whose sidecar runs as user 1.
    fn lines_of(config: &str, cases: &[&str]) -> Vec<String> {
        let config = Config::parse(config, &[]).unwrap();
        let proven = !config.sessions.is_empty();
        let rules = Rules::new(Client::own(1), config.clients);
        let tables: Vec<String> = cases
            .iter()
            .enumerate()
            .map(|(at, case)| format!("{{ name = \"{at}\", {case} }}"))
            .collect();
        let cases = Case::parse(&format!("cases = [{}]", tables.join(", "))).unwrap();
        cases.iter().map(|case| Decision::of(&rules, proven, case).line(case)).collect()
    }

    #[test]
    fn each_decision_names_its_client_and_its_rule() {
        let lines = lines(&[
            r#"uid = 10, gid = 1, operation = "tokenize", expect = "allow", client = "strict""#,
            r#"uid = 10, gid = 20, operation = "delete", expect = "deny", client = "strict""#,
            r#"uid = 11, gid = 20, operation = "delete", expect = "allow", client = "group""#,
            r#"uid = 11, gid = 21, operation = "delete", expect = "deny""#,
            r#"uid = 10, gid = 1, operation = "tokenize", namespace = "default", expect = "deny""#,
            r#"uid = 11, gid = 20, operation = "delete", namespace = "default", expect = "allow""#,
            r#"uid = 10, gid = 1, operation = "detokenize", purpose = true, expect = "deny""#,
            r#"uid = 10, gid = 1, operation = "detokenize", session = true, expect = "deny""#,
            r#"uid = 10, gid = 1, operation = "detokenize", session = true, purpose = true, expect = "allow""#,
            r#"uid = 10, gid = 1, operation = "metadata", session = true, expect = "allow""#,
            r#"uid = 1, gid = 1, operation = "sweep", expect = "allow", client = "own user""#,
            r#"uid = 1, gid = 1, operation = "tokenize", expect = "deny""#,
            r#"uid = 10, gid = 1, operation = "status", expect = "allow""#,
            r#"uid = 10, gid = 1, operation = "sweep", expect = "deny""#,
        ]);
        let nobody = "deny: no client of the policy fits this user and group";
        let expected = [
            "ok    0: allow by \"strict\"".to_owned(),
            "ok    1: deny by \"strict\": the client's `operations` do not allow this".into(),
            "ok    2: allow by \"group\"".into(),
            format!("ok    3: {nobody}"),
            "ok    4: deny by \"strict\": the client's `namespaces` do not hold this one".into(),
            "ok    5: allow by \"group\"".into(),
            "ok    6: deny by \"strict\": `require_grant` without a session".into(),
            "ok    7: deny by \"strict\": `require_purpose` without a purpose".into(),
            "ok    8: allow by \"strict\": if the session has a grant".into(),
            "ok    9: allow by \"strict\": if the session has a grant".into(),
            "ok    10: allow by \"own user\"".into(),
            format!("ok    11: {nobody}"),
            "ok    12: allow by \"strict\"".into(),
            format!("ok    13: {nobody}"),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn where_there_are_issuers_a_session_needs_its_jwt() {
        let case = |uid, operation: &str, rest: &str, expect: &str| {
            format!(
                "uid = {uid}, gid = 1, operation = {operation:?}, purpose = true, expect = {expect:?}{rest}"
            )
        };
        let (named, same, other) = (", session = true", ", jwt = \"same\"", ", jwt = \"other\"");
        let (named_same, named_other) = (named.to_owned() + same, named.to_owned() + other);
        let cases = [
            case(10, "detokenize", "", "deny"),
            case(10, "detokenize", named, "deny"),
            case(10, "detokenize", same, "allow"),
            case(10, "detokenize", &named_same, "allow"),
            case(10, "detokenize", &named_other, "deny"),
            case(10, "tokenize", "", "allow"),
            case(10, "tokenize", named, "deny"),
            case(10, "grants", "", "deny"),
            case(10, "grants", same, "allow"),
            case(10, "grants", other, "deny"),
            case(30, "grants", "", "allow"),
            case(30, "grants", other, "allow"),
            case(30, "grants", named, "deny"),
            case(30, "detokenize", named, "deny"),
            case(30, "detokenize", &named_other, "allow"),
        ];
        let cases: Vec<_> = cases.iter().map(String::as_str).collect();
        let config = CONFIG.to_owned() + ISSUER;
        let lines = lines_of(&config, &cases);
        let wrong: Vec<_> = lines.iter().filter(|line| !line.starts_with("ok ")).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(
            lines[1].ends_with("deny by \"strict\": a session without its JWT"),
            "{}",
            lines[1]
        );
        let another = "another session than the JWT's, without `grant_any_session`";
        assert!(lines[4].ends_with(another) && lines[9].ends_with(another), "{lines:#?}");
        let alone = lines_of(
            CONFIG,
            &[r#"uid = 10, gid = 1, operation = "tokenize", jwt = "same", expect = "deny""#],
        );
        assert!(alone[0].contains("no [[sessions]] are configured"), "{alone:?}");
    }

    #[test]
    fn the_documented_cases_hold_for_the_documented_clients() {
        let config = Config::parse(include_str!("../config/example.toml"), &[]).unwrap();
        let proven = !config.sessions.is_empty();
        let rules = Rules::new(Client::own(1), config.clients);
        let cases = Case::parse(include_str!("../config/example-cases.toml")).unwrap();
        let failed = |case: &&Case| !Decision::of(&rules, proven, case).is_expected(case);
        assert_eq!(cases.iter().find(failed), None);
        assert!(!cases.is_empty());
    }

    #[test]
    fn what_is_not_as_expected_says_what_was() {
        let lines = lines(&[
            r#"uid = 10, gid = 1, operation = "tokenize", expect = "deny""#,
            r#"uid = 10, gid = 1, operation = "tokenize", expect = "allow", client = "group""#,
            r#"uid = 5, gid = 5, operation = "tokenize", expect = "deny", client = "group""#,
            r#"uid = 5, gid = 5, operation = "tokenize", expect = "allow", client = "group""#,
        ]);
        let nobody = "deny: no client of the policy fits this user and group";
        let expected = [
            "FAIL  0: allow by \"strict\"; expected deny".to_owned(),
            "FAIL  1: allow by \"strict\"; expected allow by \"group\"".into(),
            format!("FAIL  2: {nobody}; expected deny by \"group\""),
            format!("FAIL  3: {nobody}; expected allow by \"group\""),
        ];
        assert_eq!(lines, expected);
    }
}
