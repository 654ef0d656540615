//! What a call is told when storage or keys fail: with a server that is stopped, a key that is
//! disabled, and a byte that was flipped.

use std::time::Duration;

use lunasec_api::grpc as api;
use lunasec_tests::{
    Grpc, Sidecar,
    aws::{Cloud, Engine, Server},
    grpc::Answer,
    sidecar::eventually,
};
use tonic::Code;

async fn tokenize(grpc: &mut Grpc) -> Answer {
    let request = api::TokenizeRequest { value: "4111".into(), ..Default::default() };
    grpc.call("Tokenize", &request).await
}

async fn token(grpc: &mut Grpc) -> String {
    tokenize(grpc).await.message::<api::TokenizeResponse>().token
}

async fn detokenize(grpc: &mut Grpc, token: &str) -> Answer {
    grpc.call("Detokenize", &api::DetokenizeRequest { token: token.into() }).await
}

/// Code, and whether to retry, of the one item of a batch.
async fn item(grpc: &mut Grpc, token: &str) -> (String, bool) {
    use api::detokenize_item::Outcome;
    let request = api::BatchDetokenizeRequest { tokens: vec![token.into()] };
    let answer = grpc.call("BatchDetokenize", &request).await;
    let item = answer.message::<api::BatchDetokenizeResponse>().items.remove(0);
    match item.outcome.unwrap() {
        Outcome::Error(error) => (error.code, error.retryable),
        Outcome::Detokenized(_) => panic!("it has a value"),
    }
}

/// Checks that it says this, and nothing of what only the log may name.
fn assert_failed(answer: &Answer, code: Code, reason: &str, retry_after: Option<u128>, not: &str) {
    assert_eq!(answer.failure(), (code, reason.into(), retry_after.is_some()));
    assert_eq!(answer.retry_after(), retry_after);
    let words = answer.status.as_ref().unwrap().message();
    assert!(!words.contains(not) && !words.contains("4111"), "{words}");
}

fn counted(sidecar: &Sidecar, operation: &str, code: &str) -> f64 {
    let labels = format!("operation=\"{operation}\",code=\"{code}\"");
    sidecar.metric(&format!("lunasec_requests_total{{{labels}}}"))
}

#[tokio::test]
async fn storage_that_is_away_is_unavailable() {
    const CODE: &str = "storage_unavailable";
    let server = Server::start(Engine::Moto);
    let cloud = Cloud::at(Engine::Moto, server.endpoint.clone()).await;
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = cloud.sidecar(directory.path(), "");
    let token = token(&mut Grpc::connect(sidecar.socket()).await).await;
    // A value in memory would go on being served; the key must be there, or it is that which is missed.
    sidecar.stop();
    let sidecar = cloud.sidecar(directory.path(), "");
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    self::token(&mut grpc).await;
    drop(server);
    for answer in [tokenize(&mut grpc).await, detokenize(&mut grpc, &token).await] {
        assert_failed(&answer, Code::Unavailable, CODE, Some(1_000), &cloud.place.bucket);
    }
    assert_eq!(item(&mut grpc, &token).await, (CODE.into(), true));
    assert_eq!(counted(&sidecar, "tokenize", CODE), 1.0);
    assert_eq!(counted(&sidecar, "detokenize", CODE), 1.0);
    eventually("it is logged", || sidecar.log().contains("Connection refused"));
}

/// moto decrypts with disabled keys.
#[tokio::test]
async fn keys_that_are_disabled_are_unavailable() {
    const CODE: &str = "keys_unavailable";
    let cloud = Cloud::new(Engine::LocalStack).await;
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = cloud.sidecar(directory.path(), "");
    let token = token(&mut Grpc::connect(sidecar.socket()).await).await;
    let key = cloud.current_key().await;
    cloud.kms.disable_key().key_id(&key).send().await.unwrap();
    // A key in memory would go on serving.
    sidecar.stop();
    let sidecar = cloud.sidecar(directory.path(), "");
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    for answer in [tokenize(&mut grpc).await, detokenize(&mut grpc, &token).await] {
        assert_failed(&answer, Code::Unavailable, CODE, Some(1_000), &key);
    }
    assert_eq!(item(&mut grpc, &token).await, (CODE.into(), true));
    cloud.kms.enable_key().key_id(&key).send().await.unwrap();
    // What was refused is not asked again for a second, and each refusal says when to come back.
    let mut revealed = detokenize(&mut grpc, &token).await;
    for _ in 0..10 {
        let Some(wait) = revealed.retry_after() else { break };
        tokio::time::sleep(Duration::from_millis(wait.try_into().unwrap())).await;
        revealed = detokenize(&mut grpc, &token).await;
    }
    assert_eq!(revealed.message::<api::DetokenizeResponse>().value, "4111");
}

#[tokio::test]
async fn a_record_with_a_flipped_byte_is_data_loss() {
    const CODE: &str = "corrupted";
    let cloud = Cloud::new(Engine::Moto).await;
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = cloud.sidecar(directory.path(), "");
    let token = token(&mut Grpc::connect(sidecar.socket()).await).await;
    // The record in memory is whole.
    sidecar.stop();
    let sidecar = cloud.sidecar(directory.path(), "");
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let records = format!("{}r/", cloud.place.prefix);
    let objects = cloud.objects().await.into_iter();
    let (name, mut record) = objects.rev().find(|(name, _)| name.starts_with(&records)).unwrap();
    *record.last_mut().unwrap() ^= 1;
    let put = cloud.s3.put_object().bucket(&cloud.place.bucket).key(&name).body(record.into());
    put.send().await.unwrap();
    let answer = detokenize(&mut grpc, &token).await;
    assert_failed(&answer, Code::DataLoss, CODE, None, &name);
    assert_eq!(item(&mut grpc, &token).await, (CODE.into(), false));
    assert_eq!(counted(&sidecar, "detokenize", CODE), 1.0);
    eventually("it is logged", || sidecar.log().contains("request failed"));
    // Nothing else is the worse for it.
    assert!(!self::token(&mut grpc).await.is_empty());
}
