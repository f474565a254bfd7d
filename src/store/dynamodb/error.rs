//! What a failed call means: whether it happened, and whether to try it again.
//!
//! Errors are told apart by their code, never by their text. Invariant: what is not known to
//! be a refusal is [`Fate::Unknown`]. Details name codes and DynamoDB's own messages, and never
//! show a reply's body, which can hold values.

use std::error::Error;
use std::io;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// What became of a call that has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It did not happen, for a reason that passes.
    Passing(Obstacle),
    /// It was not sent: too many others are under way.
    Crowded,
    /// It did not happen, for a reason that stays: not allowed, no such table.
    Lasting,
    /// It did not happen, and cannot: something is too large.
    TooLarge,
    /// It did not happen, and cannot: DynamoDB does not take the request as it is.
    Invalid,
    /// It may have happened, or the same is under way from an earlier attempt.
    Unknown,
}

/// What passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// There are too many requests.
    Throttle,
    /// Another call is about the same item, or the table is being changed.
    Conflict,
    /// Nobody listens at the endpoint.
    NoListener,
}

/// A call that has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// What became of it.
    pub(super) fate: Fate,
    /// Why, for the log.
    pub(super) why: String,
}

impl Failure {
    pub(super) fn new(fate: Fate, why: impl Into<String>) -> Failure {
        Failure { fate, why: why.into() }
    }
}

impl<E> From<&SdkError<E, HttpResponse>> for Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    fn from(error: &SdkError<E, HttpResponse>) -> Failure {
        match error {
            SdkError::ServiceError(reply) => from_reply(reply.err(), reply.raw()),
            SdkError::ConstructionFailure(_) => Failure::new(
                Fate::Lasting,
                format!("the request could not be made: {}", chain(error)),
            ),
            SdkError::DispatchFailure(failure) => {
                let refused = failure.as_connector_error().is_some_and(|e| nobody_listens(e));
                let fate =
                    if refused { Fate::Passing(Obstacle::NoListener) } else { Fate::Unknown };
                Failure::new(fate, chain(error))
            }
            SdkError::TimeoutError(_) => Failure::new(Fate::Unknown, chain(error)),
            SdkError::ResponseError(_) => Failure::new(Fate::Unknown, "the reply cannot be read"),
            // The SDK's enum is open: what is new in it is not known to be a refusal.
            _ => Failure::new(Fate::Unknown, chain(error)),
        }
    }
}

fn from_reply(error: &impl ProvideErrorMetadata, raw: &HttpResponse) -> Failure {
    let status = raw.status().as_u16();
    let code = error.code().unwrap_or_default();
    let message = error.message().unwrap_or_default();
    let why = format!("{status} {code}: {message}");
    // A server's own error says nothing about what it did before.
    let fate = if status >= 500 { Fate::Unknown } else { fate_of(code, message) };
    Failure { fate, why }
}

fn fate_of(code: &str, message: &str) -> Fate {
    match code {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "RequestLimitExceeded"
        | "LimitExceededException" => Fate::Passing(Obstacle::Throttle),
        "TransactionConflictException"
        | "ReplicatedWriteConflictException"
        | "ResourceInUseException" => Fate::Passing(Obstacle::Conflict),
        "TransactionInProgressException" => Fate::Unknown,
        "ItemCollectionSizeLimitExceededException" => Fate::TooLarge,
        "ValidationException" => invalid(message),
        "SerializationException" | "IdempotentParameterMismatchException" => Fate::Invalid,
        "ResourceNotFoundException"
        | "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "RequestExpired"
        | "OptInRequired"
        | "UnknownOperationException"
        | "InvalidEndpointException" => Fate::Lasting,
        _ => Fate::Unknown,
    }
}

/// DynamoDB has one code for every request that it does not take. Those about a size are told
/// by the words that all of them share; either way it is a refusal.
pub(super) fn invalid(message: &str) -> Fate {
    let message = message.to_ascii_lowercase();
    let size = message.contains("size") && message.contains("exceeded");
    if size { Fate::TooLarge } else { Fate::Invalid }
}

/// Whether no connection was made: the one case without a reply in which it is certain that the
/// request was not sent. A connection that was made cannot be refused any more.
fn nobody_listens(error: &(dyn Error + 'static)) -> bool {
    sources(error).any(|source| {
        let io = source.downcast_ref::<io::Error>();
        io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused)
    })
}

fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

fn chain(error: &(dyn Error + 'static)) -> String {
    sources(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_became_of_a_call() {
        for (code, message, fate) in [
            ("ThrottlingException", "", Fate::Passing(Obstacle::Throttle)),
            ("TransactionConflictException", "", Fate::Passing(Obstacle::Conflict)),
            ("TransactionInProgressException", "", Fate::Unknown),
            ("AccessDeniedException", "", Fate::Lasting),
            (
                "ValidationException",
                "Item size has exceeded the maximum allowed size",
                Fate::TooLarge,
            ),
            ("ValidationException", "Invalid UpdateExpression", Fate::Invalid),
            ("SomethingNew", "Throttling", Fate::Unknown),
            ("", "", Fate::Unknown),
        ] {
            assert_eq!(fate_of(code, message), fate, "{code} {message}");
        }
    }
}
