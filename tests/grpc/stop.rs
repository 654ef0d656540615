//! What a stop does to HTTP/2 connections and to those who watch.

use lunasec_api::grpc as api;
use lunasec_tests::{
    Grpc, Sidecar,
    grpc::{end, framed, next, prefixed, unframed},
};
use rustix::process::Signal;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
};

fn watch(service: &str) -> (hyper::http::request::Builder, bytes::Bytes) {
    let head = Grpc::post("/grpc.health.v1.Health/Watch");
    (head, framed(&HealthCheckRequest { service: service.into() }))
}

#[tokio::test]
async fn a_stop_is_told_to_watchers_and_answers_what_was_taken() {
    let mut sidecar = Sidecar::dev();
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let mut watches = Vec::new();
    for (service, last) in [
        ("", ServingStatus::NotServing),
        ("lunasec.v1.Tokenizer", ServingStatus::NotServing),
        ("nobody", ServingStatus::ServiceUnknown),
    ] {
        let (head, body) = watch(service);
        let (_, _, mut body) = grpc.begin(head, Some(body)).await.open().await;
        let first: HealthCheckResponse = unframed(&next(&mut body).await.unwrap());
        let known = last == ServingStatus::NotServing;
        let wanted = if known { ServingStatus::Serving } else { last };
        assert_eq!(first.status(), wanted, "{service}");
        watches.push((body, last));
    }
    let head = Grpc::post("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    let mut reflection = grpc.begin(head, None).await;
    reflection.more(prefixed(0, b"\x3a\x00"), false).await;
    let (_, _, mut reflected) = reflection.open().await;
    assert!(next(&mut reflected).await.is_some());
    let body = framed(&api::TokenizeRequest { value: "v".into(), ..Default::default() });
    let mut at_work = grpc.begin(Grpc::head("Tokenize"), None).await;
    at_work.more(body.slice(..6), false).await;
    grpc.settle().await;
    let mut idle = Grpc::connect(sidecar.socket()).await;
    idle.settle().await;

    sidecar.signal(Signal::TERM);
    for (mut body, last) in watches {
        let message: HealthCheckResponse = unframed(&next(&mut body).await.unwrap());
        assert_eq!(message.status(), last);
        assert_eq!(end(&mut body).await.code(), Code::Unavailable);
    }
    assert_eq!(end(&mut reflected).await.code(), Code::Ok);
    idle.ended().await;
    // No more is taken, and what was is answered.
    assert!(grpc.requests.clone().ready().await.is_err());
    at_work.more(body.slice(6..), true).await;
    let token = at_work.answer().await.message::<api::TokenizeResponse>().token;
    grpc.ended().await;
    assert_eq!(sidecar.wait().code(), Some(0), "{}", sidecar.log());
    assert!(sidecar.log().contains("every request was answered"), "{}", sidecar.log());
    let again = Sidecar::dev_in(sidecar.directory());
    assert_eq!(again.detokenize(&token).json()["value"], "v");
}
