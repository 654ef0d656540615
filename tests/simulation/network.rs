//! Between the sidecars and the one bucket and key: requests take time, and what becomes of them depends on the
//! weather there is for each sidecar.

use std::{
    fmt,
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use hyper::{Request, Response};
use lunasec_tests::fake::{Asked, Fake, Fault, Reply};
use tokio::sync::oneshot;

use crate::{
    luck::Luck,
    scene::{At, Scene},
};

/// How a dependency is away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Away {
    Hangs,
    Resets,
    Refuses(u16, &'static str),
}

/// What a sidecar's requests go through.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Weather {
    /// Of a hundred requests, so many fail, each in a way of its own.
    pub(crate) faults: u64,
    pub(crate) storage: Option<Away>,
    pub(crate) keys: Option<Away>,
}

/// See the module.
pub(crate) struct Network {
    pub(crate) fake: Fake,
    luck: Luck,
    pub(crate) weather: Vec<Weather>,
    /// When each sidecar's last request failed by a fault.
    pub(crate) trouble: Vec<At>,
    /// When storage last answered each.
    pub(crate) answered: Vec<At>,
}

impl Network {
    pub(crate) fn new(fake: Fake, luck: Luck, sites: usize) -> Self {
        Self {
            fake,
            luck,
            weather: vec![Weather::default(); sites],
            trouble: vec![At::ZERO; sites],
            answered: vec![At::ZERO; sites],
        }
    }

    /// What becomes of the next request, and after how long it arrives.
    fn draw(&mut self, site: usize, asked: Asked) -> (Option<Fault>, Duration) {
        let weather = self.weather[site];
        let away = if asked.is_of_keys() { weather.keys } else { weather.storage };
        let there = self.luck.millis(1, 20);
        let fault = match away {
            Some(Away::Hangs) => Some(Fault::Hang),
            Some(Away::Resets) => Some(Fault::Reset),
            Some(Away::Refuses(status, code)) => Some(Fault::Refuse(status, code)),
            None if self.luck.percent(weather.faults) => Some(self.fault(asked)),
            None => None,
        };
        // It arrives when nobody waits for it any more.
        let late = fault == Some(Fault::LoseAnswer) && self.luck.percent(30);
        let there = if late { self.luck.millis(2_000, 20_000) } else { there };
        (fault, there)
    }

    fn fault(&mut self, asked: Asked) -> Fault {
        let delay = self.luck.millis(20, 3_000);
        let common = [
            Fault::Hang,
            Fault::Reset,
            Fault::LoseAnswer,
            Fault::LoseAnswer,
            Fault::Tear,
            Fault::Delay(delay),
            Fault::Refuse(503, ""),
        ];
        let storage = [
            Fault::Refuse(500, "InternalError"),
            Fault::Refuse(503, "SlowDown"),
            Fault::Refuse(429, "TooManyRequests"),
            Fault::Refuse(403, "AccessDenied"),
            Fault::Refuse(409, "ConditionalRequestConflict"),
            Fault::Spoil,
        ];
        let keys = [
            Fault::Refuse(400, "ThrottlingException"),
            Fault::Refuse(500, "KMSInternalException"),
            Fault::Refuse(400, "AccessDeniedException"),
        ];
        match self.luck.percent(50) {
            true => self.luck.pick(&common),
            false if asked.is_of_keys() => self.luck.pick(&keys),
            false => self.luck.pick(&storage),
        }
    }
}

/// One sidecar's way out.
#[derive(Clone)]
struct Wire {
    scene: Arc<Scene>,
    site: usize,
    alive: Arc<AtomicBool>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

/// The network of a sidecar, for as long as it is alive. What it has sent arrives also after that.
pub(crate) fn wire(scene: &Arc<Scene>, site: usize, alive: &Arc<AtomicBool>) -> SharedHttpClient {
    let wire = Wire { scene: Arc::clone(scene), site, alive: Arc::clone(alive) };
    let connector = SharedHttpConnector::new(wire);
    http_client_fn(move |_, _| connector.clone())
}

type Answer = Result<HttpResponse, ConnectorError>;

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = request.try_into_http1x().unwrap();
        let request = request.map(|body| Bytes::copy_from_slice(body.bytes().unwrap()));
        let (sender, receiver) = oneshot::channel();
        if self.alive.load(Ordering::SeqCst) {
            tokio::spawn(self.clone().deliver(request, sender));
        }
        HttpConnectorFuture::new(async move {
            match receiver.await {
                Ok(answer) => answer,
                // Whoever it was for is gone, or it hangs.
                Err(_) => pending().await,
            }
        })
    }
}

impl Wire {
    async fn deliver(self, request: Request<Bytes>, sender: oneshot::Sender<Answer>) {
        let (scene, site) = (&self.scene, self.site);
        let asked = Asked::of(&request);
        let (fault, there) = scene.network().draw(site, asked);
        tokio::time::sleep(there).await;
        let reply = scene.network().fake.fare(&request, fault.as_ref());
        self.note(&request, asked, fault.as_ref(), &reply);
        let answer = match reply {
            Reply::Nothing => return,
            Reply::Answer(answer) => Ok(whole(answer)),
            Reply::Later(time, answer) => {
                tokio::time::sleep(time).await;
                Ok(whole(answer))
            }
            Reply::Torn(_) | Reply::Reset => Err(reset()),
        };
        let back = scene.network().luck.millis(1, 20);
        tokio::time::sleep(back).await;
        if self.alive.load(Ordering::SeqCst) {
            let said = matches!(fault, None | Some(Fault::Delay(_)));
            if said && !asked.is_of_keys() {
                scene.network().answered[site] = scene.at();
            }
            // Nobody may wait for it any more.
            let _ = sender.send(answer);
        }
    }

    fn note(&self, request: &Request<Bytes>, asked: Asked, fault: Option<&Fault>, reply: &Reply) {
        let scene = &self.scene;
        if let Some(fault) = fault {
            scene.network().trouble[self.site] = scene.at();
            scene.count(format!("fault {}", named(fault)));
        }
        scene.count("requests");
        let status = match reply {
            Reply::Answer(answer) | Reply::Later(_, answer) | Reply::Torn(answer) => {
                answer.status().as_u16()
            }
            Reply::Nothing | Reply::Reset => 0,
        };
        let path = request.uri().path();
        // What is sent to KMS has no order of its own.
        let body = if asked.is_of_keys() { 0 } else { digest(request.body()) };
        scene.note(format_args!(
            "wire {} {asked:?} {path} {body:x} {status} {}",
            self.site,
            fault.map_or("-".into(), |fault| format!("{fault:?}"))
        ));
    }
}

fn named(fault: &Fault) -> String {
    match fault {
        Fault::Delay(_) => "Delay".into(),
        fault => format!("{fault:?}"),
    }
}

fn digest(bytes: &[u8]) -> u64 {
    let fold = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, fold)
}

fn reset() -> ConnectorError {
    ConnectorError::io(io::Error::from(io::ErrorKind::ConnectionReset).into())
}

fn whole(answer: Response<Bytes>) -> HttpResponse {
    HttpResponse::try_from(answer.map(SdkBody::from)).unwrap()
}
