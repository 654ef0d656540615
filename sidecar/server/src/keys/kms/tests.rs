use super::*;

const OLD: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const NEW: &str = "arn:aws:kms:eu-central-1:111122223333:key/mrk-0000";

async fn kms(key_id: &str, accepted: &[&str], namespaces: &[(&str, &str)]) -> Kms {
    let owned = |text: &&str| String::from(*text);
    let keys = KmsKeys {
        key_id: key_id.into(),
        region: "eu-central-1".into(),
        endpoint: None,
        accept_key_ids: accepted.iter().map(owned).collect(),
        namespaces: namespaces.iter().map(|(name, key)| (owned(name), owned(key))).collect(),
    };
    Kms::new(&Aws::new(&keys.region).await, &keys)
}

fn shop() -> Namespace {
    Namespace::parse("shop").unwrap()
}

#[tokio::test]
async fn kms_is_told_a_configured_key_and_never_what_the_store_says() {
    let kms = kms("alias/lunasec", &[OLD], &[]).await;
    assert_eq!(kms.candidates(&shop(), OLD), [OLD]);
    assert_eq!(kms.candidates(&shop(), NEW), ["alias/lunasec"]);
    let strangers =
        "arn:aws:kms:eu-central-1:999999999999:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    for arn in [strangers, "", "alias/lunasec", "alias/other"] {
        for candidate in kms.candidates(&shop(), arn) {
            assert!(["alias/lunasec", OLD].contains(&candidate), "{arn}: {candidate}");
        }
    }
}

#[tokio::test]
async fn a_key_that_is_named_is_asked_alone_and_one_that_is_not_is_not_asked() {
    let exact = kms(NEW, &[OLD], &[]).await;
    assert_eq!(exact.candidates(&shop(), NEW), [NEW]);
    assert_eq!(exact.candidates(&shop(), OLD), [OLD]);
    let other = "arn:aws:kms:eu-central-1:111122223333:key/other";
    assert!(exact.candidates(&shop(), other).is_empty());
    let by_id = kms("mrk-0000", &["alias/a", "arn:aws:kms:r:1:alias/b"], &[]).await;
    assert_eq!(by_id.candidates(&shop(), NEW), ["mrk-0000"]);
    assert_eq!(by_id.candidates(&shop(), OLD), ["alias/a", "arn:aws:kms:r:1:alias/b"]);
}

#[tokio::test]
async fn a_replica_of_a_multi_region_key_is_asked_for_what_its_namesake_wrapped() {
    let replica = "arn:aws:kms:eu-west-1:111122223333:key/mrk-0000";
    for kms in [kms(replica, &[OLD], &[]).await, kms("alias/a", &[OLD, replica], &[]).await] {
        assert_eq!(kms.candidates(&shop(), NEW), [replica]);
    }
    for other in [
        "arn:aws:kms:eu-west-1:999999999999:key/mrk-0000",
        "arn:aws-cn:kms:eu-west-1:111122223333:key/mrk-0000",
        "arn:aws:kms:eu-west-1:111122223333:key/mrk-0001",
        "arn:aws:kms:eu-west-1:111122223333:key/mrk-0000:more",
        "arn:aws:s3:eu-west-1:111122223333:key/mrk-0000",
        &OLD.replace("eu-central-1", "eu-west-1"),
    ] {
        let kms = kms(other, &[], &[]).await;
        assert!(kms.candidates(&shop(), NEW).is_empty(), "{other}");
        assert!(kms.candidates(&shop(), OLD).is_empty(), "{other}");
    }
}

#[tokio::test]
async fn a_namespace_with_a_key_of_its_own_uses_no_other() {
    let kms = kms("alias/all", &[OLD], &[("shop", "alias/shop")]).await;
    assert_eq!(
        (kms.current(&shop()).as_str(), kms.current(&Namespace::default()).as_str()),
        ("alias/shop", "alias/all")
    );
    assert_eq!(kms.candidates(&shop(), NEW), ["alias/shop"]);
    assert_eq!(kms.candidates(&shop(), OLD), [OLD]);
    assert_eq!(kms.candidates(&Namespace::default(), NEW), ["alias/all"]);
}

#[tokio::test]
async fn an_unconfigured_key_is_refused_without_a_request_and_with_the_remedy() {
    let kms = kms(NEW, &[], &[]).await;
    let wrapped = joined("test", Some(OLD), Some(Blob::new("blob"))).unwrap();
    let (namespace, purpose) = (shop(), super::super::Purpose::Data);
    let context = Context { namespace: &namespace, key: "1-0", purpose };
    for result in [
        kms.unwrap(&context, &wrapped).await.map(|_| ()),
        kms.rewrap(&context, &wrapped).await.map(|_| ()),
    ] {
        let Err(KeyError::Refused(words)) = result else { panic!("{result:?}") };
        assert!(words.contains(OLD) && words.contains("accept_key_ids"), "{words}");
    }
    assert_eq!(kms.wrapped_under(&wrapped).as_deref(), Ok(OLD));
}

#[test]
fn a_wrapped_key_is_read_strictly() {
    let wrapped = joined("test", Some(OLD), Some(Blob::new("blob"))).unwrap();
    let parsed = Wrapped::parse(&wrapped).unwrap();
    assert_eq!((parsed.arn, parsed.blob), (OLD, &b"blob"[..]));
    for length in 0..=wrapped.len() - 4 {
        assert!(Wrapped::parse(&wrapped[..length]).is_err(), "{length}");
    }
    let huge = joined("test", Some(OLD), Some(Blob::new(vec![0; WRAPPED_BYTES + 1]))).unwrap();
    assert!(Wrapped::parse(&huge).is_err());
    let escape = joined("test", Some("arn\u{1b}[2J"), Some(Blob::new("blob"))).unwrap();
    assert!(Wrapped::parse(&escape).is_err());
    // A local key's first byte.
    assert!(matches!(Wrapped::parse(&[1; 69]), Err(KeyError::Refused(_))));
}

#[test]
fn what_kms_gives_is_taken_only_if_it_is_a_key() {
    assert!(taken("test", Some(Blob::new([7; 32]))).is_ok());
    assert!(matches!(taken("test", Some(Blob::new([7; 31]))), Err(KeyError::Corrupted(_))));
    assert!(matches!(taken("test", None), Err(KeyError::Unavailable(_))));
}
