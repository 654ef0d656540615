//! Whoever may write to the store, and holds tokens too: nothing that they move, copy, edit or forge
//! makes a grant count.

use bytes::Bytes;
use lunasec_api::Code;
use lunasec_core::{
    derive::SessionTag,
    envelope::Subject,
    grant::{self, Action, Generation, SessionState},
    ids::{Namespace, Session},
    record::Kind,
    secret::DataKey,
    token::Token,
};
use lunasec_sidecar::{
    store::{Name, Store},
    vault::{Call, Terms, Verdict},
};
use lunasec_tests::{
    World,
    grants::session,
    world::{HOUR, START, call},
};

use super::{REVEAL, required::strict, tag};

const VALID: Result<Verdict, Code> = Ok(Verdict::Valid(START + 3_600_000));
const DENIED: Result<Verdict, Code> = Ok(Verdict::Denied);
const CORRUPTED: Result<Verdict, Code> = Err(Code::Corrupted);

/// A store in the wrong hands.
struct Hands {
    world: World,
    alice: Session,
    bob: Session,
    token: Token,
    other: Token,
}

impl Hands {
    /// Alice may reveal the token for an hour. Bob, whose session is known, may only read metadata.
    async fn new() -> Self {
        let world = World::in_memory();
        let (alice, bob) = (session("alice"), session("bob"));
        let (token, other) = (world.tokenize("value").await, world.tokenize("other").await);
        world.grant(&alice, &token, &REVEAL, HOUR).await.unwrap();
        world.grant(&bob, &token, &[Action::Metadata], HOUR).await.unwrap();
        let hands = Self { world, alice, bob, token, other };
        // What was believed once is remembered, and must not count for anything else.
        assert_eq!(hands.alices().await, VALID);
        assert_eq!(hands.verdict(&hands.bob, &hands.token, Action::Metadata).await, VALID);
        assert_eq!(hands.verdict(&hands.bob, &hands.token, Action::Detokenize).await, DENIED);
        assert_eq!(hands.verdict(&hands.alice, &hands.other, Action::Detokenize).await, DENIED);
        hands
    }

    async fn tag(&self, session: &Session) -> SessionTag {
        tag(&self.world, &Namespace::default(), session).await
    }

    async fn grant_name(&self, session: &Session, token: &Token, action: Action) -> Name {
        let extra = grant::extra(&self.tag(session).await, action);
        let subject = Subject::new(token.clone(), Namespace::default(), Kind::Grant, &extra);
        Name::record(&Namespace::default(), &subject.locator())
    }

    /// Of Alice's grant.
    async fn granted(&self) -> Name {
        self.grant_name(&self.alice, &self.token, Action::Detokenize).await
    }

    async fn session_name(&self, session: &Session) -> Name {
        Name::session(&Namespace::default(), &self.tag(session).await)
    }

    async fn read(&self, name: &Name) -> Bytes {
        self.world.store.get(name).await.unwrap().expect("it lies there").bytes
    }

    async fn put(&self, name: &Name, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        match self.world.store.get(name).await.unwrap() {
            Some(there) => self.world.store.put_if(name, bytes, &there.version).await.unwrap(),
            None => self.world.store.put_new(name, bytes).await.unwrap(),
        };
    }

    async fn remove(&self, name: &Name) {
        let there = self.world.store.get(name).await.unwrap().unwrap();
        assert!(self.world.store.remove_if(name, &there.version).await.unwrap());
    }

    /// What the session may do; and where that is not much, that it cannot either.
    async fn verdict(
        &self,
        session: &Session,
        token: &Token,
        action: Action,
    ) -> Result<Verdict, Code> {
        let verdict = self.world.verdict(session, token, action).await;
        if action == Action::Detokenize {
            let call = strict(Some(session));
            let revealed = self.world.vault.detokenize(&call, token).await;
            let reason = match verdict {
                Ok(Verdict::Valid(_)) => None,
                Ok(Verdict::Denied) => Some(Code::GrantDenied),
                Ok(Verdict::Expired) => Some(Code::GrantExpired),
                Err(code) => Some(code),
            };
            assert_eq!(revealed.err().map(|failure| failure.code), reason);
        }
        verdict
    }

    async fn alices(&self) -> Result<Verdict, Code> {
        self.verdict(&self.alice, &self.token, Action::Detokenize).await
    }
}

#[tokio::test]
async fn a_grant_at_another_name_is_corrupted() {
    let hands = Hands::new().await;
    let record = hands.read(&hands.granted().await).await;
    for (session, token, action) in [
        (&hands.alice, &hands.token, Action::Delete),
        (&hands.alice, &hands.other, Action::Detokenize),
        (&hands.bob, &hands.token, Action::Detokenize),
        (&hands.bob, &hands.token, Action::Metadata),
    ] {
        hands.put(&hands.grant_name(session, token, action).await, record.clone()).await;
        assert_eq!(hands.verdict(session, token, action).await, CORRUPTED, "{action:?}");
    }
    assert_eq!(hands.alices().await, VALID);
    // A session that nobody granted anything is denied, whatever lies under its names.
    let eve = session("eve");
    hands.put(&hands.grant_name(&eve, &hands.token, REVEAL[0]).await, record).await;
    assert_eq!(hands.verdict(&eve, &hands.token, REVEAL[0]).await, DENIED);
}

#[tokio::test]
async fn a_record_that_is_no_grant_is_corrupted_in_its_place() {
    let hands = Hands::new().await;
    let value = Subject::new(hands.token.clone(), Namespace::default(), Kind::Value, &[]);
    let value = hands.read(&Name::record(&Namespace::default(), &value.locator())).await;
    let mut dressed = value.to_vec();
    dressed[1] = 3;
    for bytes in [value, dressed.into(), Bytes::new(), vec![0; 200].into()] {
        hands.put(&hands.granted().await, bytes).await;
        assert_eq!(hands.alices().await, CORRUPTED);
    }
}

#[tokio::test]
async fn an_edited_grant_is_corrupted_and_can_be_revoked_and_given_anew() {
    let hands = Hands::new().await;
    let name = hands.granted().await;
    let whole = hands.read(&name).await;
    // Version, kind, algorithm, flags, creation, expiry, key, put id, commitment, nonce, the sealed.
    for at in [0, 1, 2, 3, 11, 12, 18, 19, 25, 26, 42, 74, 86, whole.len() - 1] {
        let mut edited = whole.to_vec();
        edited[at] ^= 1;
        hands.put(&name, edited).await;
        let found = hands.alices().await;
        // Another key's id: no such key is there.
        assert!(matches!(found, Err(Code::Corrupted | Code::KeysUnavailable)), "{at}: {found:?}");
    }
    hands.put(&name, whole.slice(..whole.len() - 1)).await;
    assert_eq!(hands.alices().await, CORRUPTED);
    let again = hands.world.grant(&hands.alice, &hands.token, &REVEAL, HOUR).await;
    assert_eq!((again, hands.alices().await), (Ok(START + 3_600_000), VALID));
    hands.put(&name, whole.slice(..whole.len() - 1)).await;
    assert_eq!(hands.world.revoke(&hands.alice, &[&hands.token]).await, Ok(0));
    assert_eq!(hands.alices().await, DENIED);
}

#[tokio::test]
async fn an_edited_value_is_corrupted_though_it_was_alive_before() {
    let hands = Hands::new().await;
    for length in [1, 400, 5_000] {
        let token = hands.world.tokenize_for(&"v".repeat(length), 2 * HOUR).await;
        hands.world.grant(&hands.alice, &token, &REVEAL, HOUR).await.unwrap();
        let value = Subject::new(token.clone(), Namespace::default(), Kind::Value, &[]);
        let name = Name::record(&Namespace::default(), &value.locator());
        let whole = hands.read(&name).await;
        for _ in 0..2 {
            assert_eq!(hands.verdict(&hands.alice, &token, Action::Detokenize).await, VALID);
        }
        // Its end, and the last byte of its tag.
        for at in [19, whole.len() - 1] {
            let mut edited = whole.to_vec();
            edited[at] ^= 1;
            hands.put(&name, edited).await;
            let found = hands.verdict(&hands.alice, &token, Action::Detokenize).await;
            assert_eq!(found, CORRUPTED, "{length}: {at}");
        }
        hands.put(&name, whole).await;
        assert_eq!(hands.verdict(&hands.alice, &token, Action::Detokenize).await, VALID);
        hands.remove(&name).await;
        let found = hands.world.verdict(&hands.alice, &token, Action::Detokenize).await;
        assert_eq!(found, Err(Code::NotFound));
    }
}

#[tokio::test]
async fn an_expired_grant_with_a_later_expiry_is_corrupted() {
    let hands = Hands::new().await;
    let name = hands.granted().await;
    hands.world.clock.pass(HOUR);
    assert_eq!(hands.alices().await, Ok(Verdict::Expired));
    let mut edited = hands.read(&name).await.to_vec();
    edited[12..20].copy_from_slice(&(START + 7_200_000).to_be_bytes());
    hands.put(&name, edited.clone()).await;
    assert_eq!(hands.alices().await, CORRUPTED);
    edited[12..20].fill(0);
    hands.put(&name, edited).await;
    assert_eq!(hands.alices().await, CORRUPTED);
}

#[tokio::test]
async fn a_tombstone_does_not_turn_back_into_a_grant() {
    let hands = Hands::new().await;
    let name = hands.granted().await;
    assert_eq!(hands.world.revoke(&hands.alice, &[&hands.token]).await, Ok(1));
    let mut edited = hands.read(&name).await.to_vec();
    edited[3] = 0;
    hands.put(&name, edited).await;
    assert_eq!(hands.alices().await, CORRUPTED);
}

#[tokio::test]
async fn a_grant_of_an_earlier_generation_stays_denied() {
    let hands = Hands::new().await;
    let name = hands.granted().await;
    let before = hands.read(&name).await;
    hands.world.revoke_all(&hands.alice).await.unwrap();
    assert_eq!(hands.alices().await, DENIED);
    hands.put(&name, before.clone()).await;
    assert_eq!(hands.alices().await, DENIED);
    // Not even when it lasts longer than what was granted since.
    hands.world.grant(&hands.alice, &hands.token, &REVEAL, HOUR / 2).await.unwrap();
    assert_eq!(hands.alices().await, Ok(Verdict::Valid(START + 1_800_000)));
    hands.put(&name, before).await;
    assert_eq!(hands.alices().await, DENIED);
    let again = hands.world.grant(&hands.alice, &hands.token, &REVEAL, HOUR / 2).await;
    assert_eq!(again, Ok(START + 1_800_000));
    assert_eq!(hands.alices().await, Ok(Verdict::Valid(START + 1_800_000)));
}

#[tokio::test]
async fn everything_can_be_taken_back_from_a_session_whose_object_is_damaged() {
    let hands = Hands::new().await;
    let name = hands.session_name(&hands.alice).await;
    let whole = hands.read(&name).await;
    hands.put(&name, whole.slice(..20)).await;
    assert_eq!(hands.alices().await, CORRUPTED);
    hands.world.revoke_all(&hands.alice).await.unwrap();
    assert_eq!(hands.alices().await, DENIED);
    let again = hands.world.grant(&hands.alice, &hands.token, &REVEAL, HOUR).await;
    assert_eq!((again, hands.alices().await), (Ok(START + 3_600_000), VALID));
}

#[tokio::test]
async fn another_sessions_object_is_corrupted() {
    let hands = Hands::new().await;
    let name = hands.session_name(&hands.alice).await;
    let own = hands.read(&name).await;
    let bobs = hands.read(&hands.session_name(&hands.bob).await).await;
    // Alice's session in another namespace has an object of its own.
    let shop = Namespace::parse("shop").unwrap();
    let there = Call { namespace: shop.clone(), ..call() };
    let terms = Terms { actions: REVEAL.into(), expires_in: HOUR };
    hands.world.vault.grants_create(&there, &hands.alice, &[], &terms).await.unwrap();
    let elsewhere = Name::session(&shop, &tag(&hands.world, &shop, &hands.alice).await);
    let elsewhere = hands.read(&elsewhere).await;
    for object in [bobs, elsewhere, own.slice(..56), Bytes::new()] {
        hands.put(&name, object).await;
        assert_eq!(hands.alices().await, CORRUPTED);
        let granted = hands.world.grant(&hands.alice, &hands.token, &REVEAL, HOUR).await;
        assert_eq!(granted, Err(Code::Corrupted));
    }
    hands.put(&name, own).await;
    assert_eq!(hands.alices().await, VALID);
}

#[tokio::test]
async fn a_forged_session_object_is_corrupted() {
    let hands = Hands::new().await;
    let (name, tag) = (hands.session_name(&hands.alice).await, hands.tag(&hands.alice).await);
    let own = hands.read(&name).await;
    let forge = |generation: &[u8], until| {
        let generation = Generation::from_slice(generation).unwrap();
        let state = SessionState::new(until).begin(generation, START);
        state.seal(&DataKey::take(&mut [7; 32]), &Namespace::default(), &tag)
    };
    // The generation that counts, and a later end; and any other.
    let (generation, later) = (&own[10..26], START + 999 * 3_600_000);
    for object in [forge(generation, later), forge(&[1; 16], later)] {
        hands.put(&name, object).await;
        assert_eq!(hands.alices().await, CORRUPTED);
    }
    for at in [0, 1, 8, 9, 10, 25, 26, 33, 34, 65] {
        let mut edited = own.to_vec();
        edited[at] ^= 1;
        hands.put(&name, edited).await;
        assert_eq!(hands.alices().await, CORRUPTED, "{at}");
    }
    // One made up for a session that has none.
    let eve = session("eve");
    hands.put(&hands.session_name(&eve).await, own).await;
    assert_eq!(hands.verdict(&eve, &hands.token, REVEAL[0]).await, CORRUPTED);
}

#[tokio::test]
async fn a_deleted_session_object_only_denies() {
    let hands = Hands::new().await;
    let name = hands.session_name(&hands.alice).await;
    let before = hands.read(&name).await;
    hands.remove(&name).await;
    assert_eq!(hands.alices().await, DENIED);
    // What is granted now is granted under a new generation, and nothing of before comes back.
    hands.world.grant(&hands.alice, &hands.other, &REVEAL, HOUR).await.unwrap();
    assert_eq!(hands.verdict(&hands.alice, &hands.other, REVEAL[0]).await, VALID);
    assert_eq!(hands.alices().await, DENIED);
    // A roll-back is not defended: the object of before is one, and what is granted since is not.
    hands.put(&name, before).await;
    assert_eq!(hands.alices().await, VALID);
    assert_eq!(hands.verdict(&hands.alice, &hands.other, REVEAL[0]).await, DENIED);
    hands.world.clock.pass(HOUR);
    assert_eq!(hands.alices().await, Ok(Verdict::Expired));
}
