//! Where the policy asks for a grant, one user's session is of no use for another's value over gRPC
//! either.

use lunasec_api::grpc as api;
use lunasec_tests::{
    Grpc, Sidecar, apart,
    aws::wait,
    grpc::{Answer, framed},
};
use prost::Message;
use tonic::Code;

#[test]
fn one_users_session_cannot_touch_anothers_value() {
    apart::one_users_session_cannot_touch_anothers_value(tries);
}

#[test]
fn a_grant_that_is_over_says_so() {
    apart::a_grant_that_is_over_says_so(tries);
}

#[test]
fn nor_through_a_second_sidecar_on_s3() {
    apart::nor_through_a_second_sidecar_on_s3(tries);
}

/// Over gRPC.
fn tries(sidecar: &Sidecar, session: Option<&str>, token: &str) -> [String; 5] {
    wait(async {
        let mut user = User { grpc: Grpc::connect(sidecar.socket()).await, session };
        [
            user.reveal(token).await,
            user.reveal_in_a_batch(token).await,
            user.read(token).await,
            user.change(token).await,
            user.delete(token).await,
        ]
    })
}

/// Whose session it is, and a connection.
struct User<'a> {
    grpc: Grpc,
    session: Option<&'a str>,
}

impl User<'_> {
    async fn call(&mut self, method: &str, message: &impl Message) -> Answer {
        let mut head = Grpc::head(method);
        if let Some(session) = self.session {
            head = head.header("lunasec-session", session);
        }
        self.grpc.send(head, framed(message)).await
    }

    async fn reveal(&mut self, token: &str) -> String {
        let request = api::DetokenizeRequest { token: token.into() };
        let answer = self.call("Detokenize", &request).await;
        code(&answer, |done: api::DetokenizeResponse| {
            assert_eq!(done.value, apart::VALUE);
            "ok".into()
        })
    }

    async fn reveal_in_a_batch(&mut self, token: &str) -> String {
        use api::detokenize_item::Outcome;
        let request = api::BatchDetokenizeRequest { tokens: vec![token.into()] };
        let answer = self.call("BatchDetokenize", &request).await;
        code(&answer, |mut done: api::BatchDetokenizeResponse| {
            match done.items.remove(0).outcome.unwrap() {
                Outcome::Detokenized(done) => {
                    assert_eq!(done.value, apart::VALUE);
                    "ok".into()
                }
                Outcome::Error(error) => error.code,
            }
        })
    }

    async fn read(&mut self, token: &str) -> String {
        let request = api::GetMetadataRequest { token: token.into() };
        let answer = self.call("GetMetadata", &request).await;
        code(&answer, |_: api::GetMetadataResponse| "ok".into())
    }

    async fn change(&mut self, token: &str) -> String {
        let metadata = r#"{"by":"b"}"#.into();
        let request = api::SetMetadataRequest { token: token.into(), metadata, if_version: None };
        let answer = self.call("SetMetadata", &request).await;
        code(&answer, |_: api::SetMetadataResponse| "ok".into())
    }

    async fn delete(&mut self, token: &str) -> String {
        use api::delete_item::Outcome;
        let request = api::DeleteRequest { tokens: vec![token.into()] };
        let answer = self.call("Delete", &request).await;
        code(&answer, |mut done: api::DeleteResponse| match done.items.remove(0).outcome.unwrap() {
            Outcome::Deleted(_) => "ok".into(),
            Outcome::Error(error) => error.code,
        })
    }
}

/// What a call came to; a failure has the status that goes with its reason.
fn code<M: Message + Default>(answer: &Answer, done: impl FnOnce(M) -> String) -> String {
    if answer.status.as_ref().is_some_and(|status| status.code() == Code::Ok) {
        return done(answer.message());
    }
    let (status, reason, retryable) = answer.failure();
    let wanted = match reason.as_str() {
        "unauthenticated" => Code::Unauthenticated,
        "not_found" => Code::NotFound,
        _ => Code::PermissionDenied,
    };
    assert_eq!((status, retryable), (wanted, false), "{reason}");
    reason
}
