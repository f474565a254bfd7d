//! The SDK's clients: built once, with nothing switched on that the store does itself.
//!
//! Retries and timeouts of the SDK are off ([`super::calls`] has them), and so is what watches
//! over long streams. One HTTP client with one pool of connections and one TLS (rustls, ring).

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{HttpClient, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use super::DynamoDbConfig;

/// The clients of the two services, which share all but their names.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    /// Of DynamoDB.
    pub(super) table: Client,
    /// Of DynamoDB Streams.
    pub(super) streams: aws_sdk_dynamodbstreams::Client,
}

/// Builds the clients with the default chain of credentials, which may take a while.
pub(super) async fn build(config: &DynamoDbConfig) -> Result<Clients, String> {
    let http = aws_smithy_http_client::Builder::new();
    let http = http.tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http.clone());
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = &config.endpoint_url {
        loader = loader.endpoint_url(url.as_str());
    }
    let shared = loader.load().await;
    if shared.region().is_none() {
        return Err("no AWS region: give --region, AWS_REGION or a profile".to_owned());
    }
    Ok(with_http_client(&shared, http, config.timing.connect))
}

/// Builds the clients on this HTTP client.
pub(super) fn with_http_client(
    shared: &SdkConfig,
    http: impl HttpClient + 'static,
    connect_timeout: Duration,
) -> Clients {
    let timeouts = TimeoutConfig::builder().connect_timeout(connect_timeout).build();
    let shared = (shared.to_builder())
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    Clients { table: Client::new(&shared), streams: aws_sdk_dynamodbstreams::Client::new(&shared) }
}
