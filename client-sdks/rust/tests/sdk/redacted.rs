use std::collections::HashSet;

use lunasec_client::{Client, ErrorKind, NewValue, Plaintext, StoredToken, Token, exposed};
use serde::{Deserialize, Serialize};

use crate::support::{
    scripted::{Scripted, item, ok, reveal},
    token,
};

const SECRET: &str = "4111 1111 1111 1111";

#[test]
fn nothing_prints_of_a_token_or_a_value_at_any_depth() {
    let inside = Token::from_text(token(7)).unwrap();
    let stored = StoredToken::from(inside.clone());
    let values = [Plaintext::from(SECRET), Plaintext::from(SECRET.as_bytes())];
    let new = NewValue::from(SECRET).metadata(serde_json::json!({ "a": SECRET }));
    let everything = (inside, stored, values, new, vec![Some(Plaintext::from(SECRET))]);
    let printed = format!("{everything:?} {everything:#?}");
    assert!(!printed.contains("4111") && !printed.contains("00000000-0000"), "{printed}");
    assert!(printed.contains("expose()") && printed.contains("reveal()"));
    let client = Client::builder().jwt("secret-jwt");
    let printed =
        format!("{client:?} {:?}", client.clone().build().unwrap().for_session("alice").unwrap());
    assert!(!printed.contains("secret") && !printed.contains("alice"), "{printed}");
}

#[test]
fn equality_and_hashes_are_by_what_is_inside() {
    let text = |number| Token::from_text(token(number)).unwrap();
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
    assert!(text(1) == *token(1).as_str());
    assert_eq!(HashSet::from([text(1), text(1), text(2)]).len(), 2);
    assert_eq!(Plaintext::from("a"), Plaintext::from("a"));
    assert_ne!(Plaintext::from("a"), Plaintext::from("a".as_bytes()));
    let values = [Plaintext::from("a"), Plaintext::from("a"), Plaintext::from("a".as_bytes())];
    assert_eq!(HashSet::from(values).len(), 2);
}

#[test]
fn bytes_are_not_revealed_as_text() {
    let bytes = Plaintext::from([0xff, 0xfe].as_slice());
    assert_eq!(bytes.reveal().unwrap_err().kind(), ErrorKind::InvalidRequest);
    assert_eq!(bytes.reveal_bytes(), [0xff, 0xfe]);
    assert!(!Plaintext::text_or_bytes([0xff]).is_text());
    assert_eq!(Plaintext::text_or_bytes("é").reveal().unwrap(), "é");
}

#[test]
fn serde_reads_tokens_and_writes_them_only_where_that_is_said() {
    #[derive(Serialize, Deserialize, Debug)]
    struct Row {
        stored: StoredToken,
        #[serde(with = "exposed")]
        token: Token,
    }
    let text = format!(r#"{{"stored":"{}","token":"{}"}}"#, token(1), token(2));
    let row: Row = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&row).unwrap(), text);
    for value in ["Ada", SECRET, &token(1).to_uppercase(), &format!("{} ", token(1)), "••••", ""]
    {
        let text = serde_json::json!({ "stored": value, "token": token(1) }).to_string();
        let error = serde_json::from_str::<Row>(&text).unwrap_err().to_string();
        assert!(error.contains("a token is lunasec- and a UUID"), "{error}");
        assert!(value.is_empty() || !error.contains(value), "{error}");
    }
    for text in ["4111", "4111.5", "-4111", "[4111]", "true"] {
        let error = serde_json::from_str::<StoredToken>(text).unwrap_err().to_string();
        assert!(!error.contains("4111"), "{error}");
        assert!(serde_json::from_str::<Plaintext>(text).is_err());
    }
}

#[tokio::test]
async fn what_was_printed_instead_of_shown_is_refused() {
    let server = Scripted::new(|came, _| reveal(came));
    let client = server.client();
    let printed = format!("{:?}", Token::from_text(token(1)).unwrap());
    let value = format!("{:?}", Plaintext::from(SECRET));
    let error = client.detokenize(&printed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidToken);
    assert!(error.detail().contains("store what token.expose() gives"));
    for text in [&printed, &value, "••••", " •••• "] {
        let error = client.tokenize(text).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{text}");
        assert!(client.tokenize(text.as_bytes()).await.is_err(), "{text}");
    }
    let metadata = serde_json::json!({ "a": [value] });
    assert!(client.tokenize(NewValue::from("v").metadata(&metadata)).await.is_err());
    assert!(client.set_metadata(token(1), &metadata).await.is_err());
    assert!(server.came().is_empty(), "none of it was sent");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_not_quoted() {
    let server = Scripted::new(|came, before| match before {
        0 => ok(serde_json::json!({ "value": 4_111_111, "encoding": "utf8" })),
        1 => ok(serde_json::json!({ "value": SECRET, "encoding": "rot13" })),
        _ => ok(serde_json::json!({ "items": [item(&came.tokens()[0]), item(SECRET)] })),
    });
    let client = server.client();
    for _ in 0..2 {
        let error = client.detokenize(token(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProtocolError);
        assert!(!format!("{error} {error:?}").contains("4111"), "{error}");
    }
    let error = client.detokenize_batch(&[token(1), token(2)]).await.unwrap_err();
    assert!(error.detail().contains("another token") && !error.detail().contains("4111"));
}
