//! A request as a case writes it; only framing and `Host` are added.

const FORM: &str = "application/x-www-form-urlencoded";

/// One request, to be sent as written.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, in any spelling.
    pub method: String,
    /// The request target, in any spelling.
    pub target: String,
    /// Headers beside `Host` and `Content-Length`, which are added.
    pub headers: Vec<(String, String)>,
    /// The body, if one is to be sent.
    pub body: Option<Vec<u8>>,
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: None,
        }
    }

    /// With a form body and its Content-Type.
    #[must_use]
    pub fn form(self, body: &str) -> Self {
        self.header("Content-Type", FORM).body(body)
    }

    /// With a body and no Content-Type.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The bytes of the request for a server at `address`.
    #[must_use]
    pub fn encode(&self, address: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.has("host") {
            head.push_str(&format!("Host: {address}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let framed = self.has("content-length") || self.has("transfer-encoding");
        let wants_body = matches!(self.method.as_str(), "PUT" | "POST");
        match &self.body {
            _ if framed => {}
            Some(body) => head.push_str(&format!("Content-Length: {}\r\n", body.len())),
            None if wants_body => head.push_str("Content-Length: 0\r\n"),
            None => {}
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    fn has(&self, wanted: &str) -> bool {
        self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted))
    }
}
