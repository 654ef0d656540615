use std::collections::HashSet;

use lunasec_client::{Client, Error, ErrorClass, ErrorKind, Fail, Session, Token};

fn is_send_and_sync<T: Send + Sync>() {}
fn is_send(_: impl Send) {}

#[tokio::test]
async fn everything_can_go_to_another_thread() {
    is_send_and_sync::<(Client, Session, Error, Token)>();
    let client = Client::builder().socket("/nowhere").build().unwrap();
    is_send(client.tokenize("value"));
    is_send(client.detokenize("token"));
    is_send(client.detokenize_batch(&["token"]));
    is_send(client.masking().detokenize("token"));
    is_send(client.or_else(|_, _| async { 1 }).detokenize_batch(&["token"]));
    is_send(client.for_session("alice").unwrap().grant(&["token"]));
    is_send(client.set_metadata("token", &()));
    is_send(client.with_policy(Fail).delete(&["token"]));
}

/// The tree that is drawn at the top of its file, and the one that there is.
#[test]
fn the_tree_that_is_drawn_is_the_one_that_there_is() {
    let source = include_str!("../../src/error.rs");
    let drawing = source.split("```").nth(1).unwrap();
    let (mut class, mut drawn) = (String::new(), HashSet::new());
    for line in drawing.lines() {
        let words: Vec<_> = line
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|w| !w.is_empty())
            .collect();
        if line.contains("│   ") {
            drawn.insert((words[0].to_owned(), class.clone()));
        } else if line.contains("├──") || line.contains("└──") {
            class = words[0].to_owned();
        }
    }
    for kind in ErrorKind::ALL {
        let (name, class) = (format!("{kind:?}"), format!("{:?}", kind.class()));
        let alone = name == class && drawing.contains(&format!("── {name} "));
        assert!(
            alone || drawn.contains(&(name.clone(), class.clone())),
            "{name} is not drawn below {class}"
        );
        assert!(drawing.contains(kind.code().unwrap()), "{name} is drawn without its code");
    }
    assert_eq!(ErrorKind::ALL.len(), 23);
    assert_eq!(ErrorKind::Unavailable.class(), ErrorClass::Unavailable);
    assert_eq!(ErrorKind::Unknown.code(), None);
}

#[test]
fn mistakes_are_told_where_they_are_made() {
    let refused = |error: Error, words: &str| {
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.detail().contains(words), "{error}");
        assert!(!error.retryable() && error.status().is_none());
    };
    refused(Client::builder().attempts(0).build().unwrap_err(), "attempts is 0");
    refused(Client::builder().connections(0).build().unwrap_err(), "connections is 0");
    refused(Client::builder().socket("x".repeat(200)).build().unwrap_err(), "200 bytes long");
    refused(Client::builder().namespace("a\nb").build().unwrap_err(), "namespace");
    let client = Client::builder().build().unwrap();
    refused(client.in_namespace("").unwrap_err(), "namespace");
    refused(client.for_purpose(" x").unwrap_err(), "purpose");
    refused(client.with_jwt("a\r\nb").unwrap_err(), "JWT");
    refused(client.for_session("a\0b").unwrap_err(), "session");
    refused(client.for_session(&"s".repeat(1_025)).unwrap_err(), "1,024 bytes");
    refused(client.for_purpose(&"p".repeat(15_000)).unwrap_err(), "shorten");
}
