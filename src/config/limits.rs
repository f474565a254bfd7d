//! The flags about what one client may ask for.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;

use super::Mistakes;
use super::typed::{Readable, Typed};

#[derive(Debug, Args)]
pub(super) struct LimitFlags {
    /// How many requests below /v2 a client may send in a second, by its address; more are
    /// refused with 429. 0: as many as it likes.
    #[arg(long, env = "ETCDYNAMO_MAX_REQUESTS_PER_SECOND_PER_CLIENT", value_name = "COUNT")]
    #[arg(default_value = "0")]
    max_requests_per_second_per_client: Typed<u32>,

    /// How long the head of a request may take, from its first byte on.
    #[arg(long, env = "ETCDYNAMO_HEADER_TIMEOUT_MS", value_name = "MS", default_value = "15000")]
    header_timeout_ms: Typed<u64>,
}

/// What one client may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLimits {
    /// How many requests in a second; `None`: any number.
    pub requests_per_second: Option<NonZeroU32>,
    /// How long the head of a request may take.
    pub header_timeout: Duration,
}

impl Readable for u32 {
    fn read(text: &str) -> Result<u32, String> {
        super::typed::number(text)
    }
}

impl LimitFlags {
    pub(super) fn meaning(self, mistakes: &mut Mistakes) -> ClientLimits {
        let flag = "max-requests-per-second-per-client";
        let per_second = self.max_requests_per_second_per_client.or(0, flag, mistakes);
        let header_timeout_ms = self.header_timeout_ms.or(1, "header-timeout-ms", mistakes);
        if header_timeout_ms == 0 {
            mistakes.add("header-timeout-ms", "must be more than 0");
        }
        ClientLimits {
            requests_per_second: NonZeroU32::new(per_second),
            header_timeout: Duration::from_millis(header_timeout_ms),
        }
    }
}
