//! AdmissionReview, v1: what the API server asks, and what it is told.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use json_patch::Patch;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    inject::{Decision, Why, decide},
    settings::Settings,
};

const API: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
/// The API server cuts a warning there.
const WARNING_BYTES: usize = 256;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    kind: Kind,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    namespace: String,
    operation: String,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(default)]
    object: Value,
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
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Injected, Self::Skipped, Self::Denied, Self::Invalid];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Skipped => "skipped",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
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
    let review: Review =
        serde_json::from_slice(body).map_err(|error| Unreadable::NoReview(error.to_string()))?;
    if review.api_version != API || review.kind != KIND {
        return Err(Unreadable::OtherVersion(review.api_version, review.kind));
    }
    let request =
        review.request.ok_or_else(|| Unreadable::NoReview("it has no request".to_owned()))?;
    let answer = Answer::of(&request);
    Ok(judge(settings, &request, answer))
}

fn judge(settings: &Settings, request: &Request, answer: Answer) -> Answer {
    let kind = &request.kind;
    if !kind.group.is_empty()
        || kind.version != "v1"
        || kind.kind != "Pod"
        || !request.sub_resource.is_empty()
    {
        // Rules that send this are wrong, but refusing it could stop a cluster.
        let words =
            format!("lunasec: the webhook's rules send {}, and must send pods only", kind.kind);
        return Answer {
            outcome: Outcome::Invalid,
            warnings: vec![words.clone()],
            words,
            ..answer
        };
    }
    if request.operation != "CREATE" {
        let words = format!("only created pods get a sidecar, and this is {}", request.operation);
        return Answer { outcome: Outcome::Skipped, words, ..answer };
    }
    match decide(settings, &request.object) {
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
    fn of(request: &Request) -> Self {
        let metadata = &request.object["metadata"];
        let text =
            |key: &str| metadata[key].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
        Self {
            outcome: Outcome::Invalid,
            words: String::new(),
            warnings: Vec::new(),
            namespace: request.namespace.clone(),
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
            Outcome::Invalid => !self.warnings.is_empty(),
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
            response["warnings"] = self.warnings.iter().map(|it| cut(it)).collect();
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

fn cut(words: &str) -> &str {
    &words[..words.floor_char_boundary(WARNING_BYTES)]
}
