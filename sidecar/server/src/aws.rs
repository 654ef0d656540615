//! What the adapters of AWS share: the HTTP client, the credentials, and what their errors mean.
//!
//! Nothing here is built unless the configuration names S3 or KMS, nothing is sent before the first
//! request, and only then are credentials looked for: environment, profile, web identity, container
//! or pod, instance metadata, in this order. Endpoints come from the configuration alone. The SDK's
//! own retries are off; see [`crate::attempts`].

use aws_config::{
    default_provider::credentials::DefaultCredentialsChain, provider_config::ProviderConfig,
};
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, IdentityCache, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedCredentialsProvider, SharedHttpClient, SharedIdentityCache,
    StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use lunasec_core::limits;

use crate::config::{KmsKeys, S3Place};

mod connections;
pub mod profile;
mod skew;
mod trouble;

use connections::Connections;
pub use skew::{ClockSkew, ahead_of, answered_at, is_apart};
pub use trouble::{Kind, Trouble, attempt, attempt_in_turn};

/// Makes clients that share connections and credentials.
pub struct Aws {
    http: SharedHttpClient,
    credentials: SharedCredentialsProvider,
    identities: SharedIdentityCache,
}

impl Aws {
    /// With the credentials that this process finds. The region is where web identities are exchanged.
    pub async fn new(region: &str) -> Self {
        let http = kept_http_client();
        let settings = ProviderConfig::without_region().with_http_client(http.clone());
        let chain = DefaultCredentialsChain::builder()
            .region(Region::new(region.to_owned()))
            .configure(settings)
            .build()
            .await;
        Self::of(http, SharedCredentialsProvider::new(chain))
    }

    /// With the credentials given.
    pub fn with_credentials(credentials: Credentials) -> Self {
        Self::of(kept_http_client(), SharedCredentialsProvider::new(credentials))
    }

    /// With a network and credentials of the caller's: what a test stands in for.
    pub fn with_network(http: SharedHttpClient, credentials: Credentials) -> Self {
        Self::of(http, SharedCredentialsProvider::new(credentials))
    }

    fn of(http: SharedHttpClient, credentials: SharedCredentialsProvider) -> Self {
        let identities = IdentityCache::lazy().load_timeout(limits::CREDENTIALS_TIME).build();
        Self { http, credentials, identities }
    }

    /// A client of S3.
    pub fn s3(&self, place: &S3Place) -> aws_sdk_s3::Client {
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(place.region.clone()))
            .credentials_provider(self.credentials.clone())
            .identity_cache(self.identities.clone())
            .http_client(self.http.clone())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenSupported)
            .response_checksum_validation(ResponseChecksumValidation::WhenSupported)
            .force_path_style(place.path_style);
        config.set_endpoint_url(place.endpoint.clone());
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// A client of KMS.
    pub fn kms(&self, keys: &KmsKeys) -> aws_sdk_kms::Client {
        let mut config = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(keys.region.clone()))
            .credentials_provider(self.credentials.clone())
            .identity_cache(self.identities.clone())
            .http_client(self.http.clone())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(keys.endpoint.clone());
        aws_sdk_kms::Client::from_conf(config.build())
    }
}

fn kept_http_client() -> SharedHttpClient {
    SharedHttpClient::new(Connections::new(http_client))
}

fn http_client() -> SharedHttpClient {
    Builder::new()
        .pool_max_idle_per_host(limits::STORAGE_REQUESTS)
        .pool_idle_timeout(limits::AWS_IDLE_TIME)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https()
}

/// Only for connecting: an attempt as a whole, its answer's body included, is timed by `attempt`.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(limits::AWS_CONNECT_TIME).build()
}
