//! The errors of v2: code, status and message, the whole table once.
//!
//! The one place of the suite that knows them; not derived from any server's source.

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct ErrorLine {
    /// `errorCode`
    pub code: u16,
    /// The HTTP status that goes with it.
    pub status: u16,
    /// `message`
    pub message: &'static str,
}

const fn line(code: u16, status: u16, message: &'static str) -> ErrorLine {
    ErrorLine { code, status, message }
}

/// Every error that a client can be sent.
pub const ERRORS: [ErrorLine; 16] = [
    line(100, 404, "Key not found"),
    line(101, 412, "Compare failed"),
    line(102, 403, "Not a file"),
    line(104, 400, "Not a directory"),
    line(105, 412, "Key already exists"),
    line(107, 400, "Root is read only"),
    line(108, 403, "Directory not empty"),
    line(110, 401, "The request requires user authentication"),
    line(201, 400, "PrevValue is Required in POST form"),
    line(202, 400, "The given TTL in POST form is not a number"),
    line(203, 400, "The given index in POST form is not a number"),
    line(209, 400, "Invalid field"),
    line(210, 400, "Invalid POST form"),
    line(211, 400, "Value provided on refresh"),
    line(212, 400, "A TTL must be provided on refresh"),
    line(401, 400, "The event in requested index is outdated and cleared"),
];

/// The line of a code.
///
/// # Errors
/// There is none.
pub fn find(code: u16) -> Result<ErrorLine, String> {
    ERRORS
        .into_iter()
        .find(|line| line.code == code)
        .ok_or_else(|| format!("no error has the code {code}"))
}

impl ErrorLine {
    /// Whether it comes from the request alone, and so carries no index.
    #[must_use]
    pub fn is_about_the_request(&self) -> bool {
        self.code == 110 || (200..300).contains(&self.code)
    }

    /// The body of the error with this cause, as a pattern; an empty cause is left out.
    #[must_use]
    pub fn pattern(&self, cause: &str) -> String {
        let cause = match cause {
            "" => String::new(),
            text => format!(",\"cause\":{}", serde_json::Value::from(text)),
        };
        let index = if self.is_about_the_request() { "0" } else { "<index>" };
        format!(
            "{{\"errorCode\":{},\"message\":\"{}\"{cause},\"index\":{index}}}",
            self.code, self.message
        )
    }
}
