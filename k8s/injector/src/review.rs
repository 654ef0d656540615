//! AdmissionReview, v1: what the API server asks, and what it is told.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use json_patch::Patch;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use crate::{
    inject::{Decision, NoPod, Why, decide},
    mistakes::{cut, short},
    settings::Settings,
    size,
};

const API: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
/// The API server cuts a warning there.
const WARNING_BYTES: usize = 256;
/// Of a pod's name, which has no more.
const NAME_BYTES: usize = 253;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<Object> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(bound = "Object: Default + Deserialize<'de>")]
    request: Option<Request<Object>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<Object> {
    uid: String,
    kind: Kind,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    namespace: String,
    operation: String,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(default, bound = "Object: Default + Deserialize<'de>")]
    object: Object,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    group: String,
    version: String,
    kind: String,
}

/// What a decision is counted as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A sidecar was put in.
    Injected,
    /// The pod was let through as it is.
    Skipped,
    /// The pod was refused.
    Denied,
    /// What was asked could not be understood.
    Invalid,
    /// There was no time or no room to look at it.
    Overloaded,
    /// The injector made a mistake.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Injected,
        Self::Skipped,
        Self::Denied,
        Self::Invalid,
        Self::Overloaded,
        Self::Failed,
    ];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Skipped => "skipped",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::Overloaded => "overloaded",
            Self::Failed => "failed",
        }
    }
}

/// A review that was answered.
pub struct Answer {
    /// What was decided.
    pub outcome: Outcome,
    /// Why, in words; nothing if there is nothing to say.
    pub words: String,
    /// Warnings for whoever made the pod.
    pub warnings: Vec<String>,
    /// Whose pod it is.
    pub namespace: String,
    /// The pod's name, or what its name will begin with.
    pub name: String,
    /// Nothing will come of it, and so it is not counted.
    pub dry_run: bool,
    patch: Option<Patch>,
    uid: String,
}

/// A body that cannot be answered as a review: there is no uid to answer to.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is no review at all.
    #[error("this is no AdmissionReview: {0}")]
    NoReview(String),
    /// It is of another version.
    #[error(
        "this is {0} {1}; the injector answers {API} {KIND}: set admissionReviewVersions: [\"v1\"]"
    )]
    OtherVersion(String, String),
}

/// Answers what the API server sent.
pub fn answer(settings: &Settings, body: &[u8]) -> Result<Answer, Unreadable> {
    match size::of_text(body) {
        Ok(()) => {
            let request = read::<Value>(body)?;
            let answer = Answer::of(&request, &request.object);
            Ok(judge(&request, answer, |it| decide(settings, it)))
        }
        // Nothing is made of the object, and there is a uid to answer to.
        Err(words) => {
            let request = read::<IgnoredAny>(body)?;
            let answer = Answer::of(&request, &Value::Null);
            let words = format!("the pod is too large for the injector: {words}");
            Ok(judge(&request, answer, |_| Ok(Decision::Denied(vec![words]))))
        }
    }
}

fn read<Object>(body: &[u8]) -> Result<Request<Object>, Unreadable>
where
    Object: Default + for<'de> Deserialize<'de>,
{
    let review: Review<Object> = serde_json::from_slice(body)
        .map_err(|error| Unreadable::NoReview(cut(error.to_string())))?;
    if review.api_version != API || review.kind != KIND {
        return Err(Unreadable::OtherVersion(cut(review.api_version), cut(review.kind)));
    }
    review.request.ok_or_else(|| Unreadable::NoReview("it has no request".to_owned()))
}

fn judge<Object>(
    request: &Request<Object>,
    answer: Answer,
    decide: impl FnOnce(&Object) -> Result<Decision, NoPod>,
) -> Answer {
    let kind = &request.kind;
    if !kind.group.is_empty()
        || kind.version != "v1"
        || kind.kind != "Pod"
        || !request.sub_resource.is_empty()
    {
        // Rules that send this are wrong, but refusing it could stop a cluster.
        let words = format!(
            "lunasec: the webhook's rules send {}, and must send pods only",
            short(&kind.kind)
        );
        return Answer {
            outcome: Outcome::Invalid,
            warnings: vec![words.clone()],
            words,
            ..answer
        };
    }
    if request.operation != "CREATE" {
        let words =
            format!("only created pods get a sidecar, and this is {}", short(&request.operation));
        return Answer { outcome: Outcome::Skipped, words, ..answer };
    }
    match decide(&request.object) {
        Ok(Decision::Injected { patch, warnings }) => {
            Answer { outcome: Outcome::Injected, warnings, patch: Some(patch), ..answer }
        }
        Ok(Decision::Skipped(why)) => {
            Answer { outcome: Outcome::Skipped, words: why.words().to_owned(), ..answer }
        }
        Ok(Decision::Denied(words)) => {
            Answer { outcome: Outcome::Denied, words: words.join("; "), ..answer }
        }
        Err(error) => Answer { outcome: Outcome::Invalid, words: error.to_string(), ..answer },
    }
}

impl Why {
    fn words(self) -> &'static str {
        match self {
            Self::NotWanted => "it does not ask for a sidecar",
            Self::Already => "it has a sidecar",
        }
    }
}

impl Answer {
    fn of<Object>(request: &Request<Object>, object: &Value) -> Self {
        let metadata = &object["metadata"];
        // Nobody has looked at it yet, and the log repeats it.
        let name_of = |it: &str| it[..it.floor_char_boundary(NAME_BYTES)].to_owned();
        let text = |key: &str| metadata[key].as_str().filter(|it| !it.is_empty()).map(name_of);
        Self {
            outcome: Outcome::Invalid,
            words: String::new(),
            warnings: Vec::new(),
            namespace: name_of(&request.namespace),
            name: text("name").or_else(|| text("generateName")).unwrap_or_default(),
            dry_run: request.dry_run == Some(true),
            patch: None,
            uid: request.uid.clone(),
        }
    }

    /// What is not a pod is let through; a pod that cannot be read is not.
    fn allowed(&self) -> bool {
        match self.outcome {
            Outcome::Injected | Outcome::Skipped => true,
            Outcome::Denied => false,
            Outcome::Invalid | Outcome::Overloaded | Outcome::Failed => !self.warnings.is_empty(),
        }
    }

    /// The body of the answer.
    pub fn body(&self) -> Vec<u8> {
        let mut response = json!({"uid": self.uid, "allowed": self.allowed()});
        if let Some(patch) = &self.patch {
            let json = serde_json::to_vec(patch).unwrap_or_default();
            response["patchType"] = "JSONPatch".into();
            response["patch"] = STANDARD.encode(json).into();
        }
        if !self.warnings.is_empty() {
            response["warnings"] = self.warnings.iter().map(|it| warning(it)).collect();
        }
        if !self.allowed() {
            let (code, reason) = (422, "Invalid");
            response["status"] =
                json!({"status": "Failure", "code": code, "reason": reason, "message": self.words});
        }
        let review = json!({"apiVersion": API, "kind": KIND, "response": response});
        // A value with texts as keys always serializes.
        serde_json::to_vec(&review).unwrap_or_default()
    }
}

fn warning(words: &str) -> &str {
    &words[..words.floor_char_boundary(WARNING_BYTES)]
}
