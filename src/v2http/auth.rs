//! `/v2/auth`: users, roles, and whether they count; and who a request says it is from.
//!
//! What a request does is [`crate::v2`]'s to say; this is etcd's JSON for it (v2http/client_auth.go),
//! with Go's habits: names of fields in any case, what follows the first document is not looked at.

use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Method, Request, StatusCode};
use serde_json::{Map, Value};

use super::body::{self, RequestBody};
use super::reply::{self, Reply};
use super::{Api, json};
use crate::keyspace::{Credentials, Keys, NotAdministered};
use crate::v2::{
    Accounts, Administered, Administration, AuthError, Permissions, PutRole, PutUser, Role,
};

/// The longest request that is looked at.
const REQUEST_BYTES: usize = 256 << 10;

const SINGLE: &str = "GET,PUT,DELETE";
const COLLECTION: &str = "GET";

/// What a path below `/v2/auth/` is about.
#[derive(Debug, PartialEq, Eq)]
enum About {
    Enable,
    Users,
    User(String),
    Roles,
    Role(String),
    /// More than one name.
    Invalid,
}

/// Who a request says it is from: its Authorization header (net/http, `Request.BasicAuth`), or else the
/// client's certificate.
pub(super) fn credentials(headers: &HeaderMap, certified: Option<&str>) -> Credentials {
    let sent = headers.get(AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
    if sent.is_empty() {
        return certified.map_or(Credentials::None, |name| Credentials::Certificate(name.into()));
    }
    let decoded = sent
        .split_at_checked(6)
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Basic "))
        .and_then(|(_, encoded)| base64_decoded(encoded))
        .and_then(|decoded| String::from_utf8(decoded).ok());
    match decoded.as_deref().and_then(|text| text.split_once(':')) {
        Some((name, password)) => {
            Credentials::Password { name: name.to_owned(), password: password.to_owned() }
        }
        None => Credentials::Malformed,
    }
}

fn base64_decoded(text: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// Answers a request below `/v2/auth/`.
pub(super) async fn serve<K: Keys>(
    api: &Api<K>,
    request: Request<RequestBody>,
    rest: &[u8],
    who: &Credentials,
) -> Reply {
    let Some(about) = about(rest) else { return reply::not_found() };
    let allow = match about {
        About::Users | About::Roles => COLLECTION,
        About::Enable | About::User(_) | About::Role(_) => SINGLE,
        About::Invalid => return reply::message(StatusCode::BAD_REQUEST, "Invalid path"),
    };
    let method = request.method().clone();
    if !allow.split(',').any(|allowed| allowed == method.as_str()) {
        return reply::method_not_allowed(Some(allow));
    }
    let is_open = about == About::Enable && method == Method::GET;
    if !is_open && !api.keys.allows_administration(who).await {
        return insufficient();
    }
    let answered = match (&method, about) {
        (&Method::GET, about) => read(api, &about).await,
        (&Method::DELETE, about) => remove(api, about).await,
        (_, about) => put(api, request, about).await,
    };
    let reply = answered.unwrap_or_else(|error| refusal(&error));
    reply::of_cluster(reply, &api.cluster_id)
}

/// The answer to whoever may not do what they ask for, but for `/v2/keys`.
pub(super) fn insufficient() -> Reply {
    reply::message(StatusCode::UNAUTHORIZED, "Insufficient credentials")
}

fn about(rest: &[u8]) -> Option<About> {
    let rest = String::from_utf8_lossy(rest);
    let mut parts = rest.trim_end_matches('/').split('/');
    let (kind, name, more) = (parts.next()?, parts.next(), parts.next());
    // As with any path of Go's, `enable/` leads nowhere.
    match (kind, name, more) {
        ("enable", None, None) if rest == "enable" => Some(About::Enable),
        ("users", None, None) => Some(About::Users),
        ("roles", None, None) => Some(About::Roles),
        ("users", Some(name), None) => Some(About::User(name.to_owned())),
        ("roles", Some(name), None) => Some(About::Role(name.to_owned())),
        ("users" | "roles", Some(_), Some(_)) => Some(About::Invalid),
        _ => None,
    }
}

fn refusal(error: &NotAdministered) -> Reply {
    match error {
        NotAdministered::Refused(AuthError { status, message }) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST);
            reply::message(status, message)
        }
        NotAdministered::Failed(error) => {
            tracing::warn!(%error, "users and roles could not be asked or changed");
            reply::message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
        }
    }
}

async fn read<K: Keys>(api: &Api<K>, about: &About) -> Result<Reply, NotAdministered> {
    let accounts = api.keys.accounts().await?;
    let mut out = Vec::new();
    match about {
        About::Enable => {
            out.extend_from_slice(format!("{{\"enabled\":{}}}", accounts.enabled).as_bytes());
        }
        About::Users => {
            out.extend_from_slice(b"{\"users\":");
            let names = accounts.users.keys().filter(|name| is_listed(name));
            write_list(&mut out, names, |out, name| {
                let roles = roles_of(&accounts, name);
                write_user(out, name, &roles.into_iter().flatten().collect::<Vec<_>>());
            });
            out.push(b'}');
        }
        About::User(name) => {
            accounts.user(name)?;
            let roles = roles_of(&accounts, name).into_iter().collect::<Result<Vec<_>, _>>()?;
            write_user(&mut out, name, &roles);
        }
        About::Roles => {
            let root = Role::root();
            let roles = accounts.roles.values().chain([&root]);
            let mut roles: Vec<&Role> = roles.filter(|role| is_listed(&role.name)).collect();
            roles.sort_by(|a, b| a.name.cmp(&b.name));
            out.extend_from_slice(b"{\"roles\":");
            write_list(&mut out, roles.into_iter(), write_role);
            out.push(b'}');
        }
        About::Role(name) => write_role(&mut out, &accounts.role(name)?),
        About::Invalid => {}
    }
    out.push(b'\n');
    Ok(reply::json_document(out))
}

/// etcd keeps users and roles as nodes, and a node whose name begins so is hidden.
fn is_listed(name: &str) -> bool {
    !name.starts_with('_')
}

/// A user's roles, or why one is not there.
fn roles_of(accounts: &Accounts, name: &str) -> Vec<Result<Role, AuthError>> {
    let roles = accounts.users.get(name).and_then(|user| user.roles.as_ref());
    roles.into_iter().flatten().map(|role| accounts.role(role)).collect()
}

async fn remove<K: Keys>(api: &Api<K>, about: About) -> Result<Reply, NotAdministered> {
    let asked = match about {
        About::User(name) => Administration::DeleteUser(name),
        About::Role(name) => Administration::DeleteRole(name),
        About::Enable | About::Users | About::Roles | About::Invalid => Administration::Disable,
    };
    api.keys.administrate(asked, None).await.map(|done| answer(&done))
}

async fn put<K: Keys>(
    api: &Api<K>,
    request: Request<RequestBody>,
    about: About,
) -> Result<Reply, NotAdministered> {
    let (asked, password) = match about {
        About::User(name) => {
            let Some(sent) = fields(api, request).await else { return Ok(invalid_json()) };
            let Some((user, password)) = user_from(&sent) else { return Ok(invalid_json()) };
            if user.name != name {
                return Ok(other_name("User"));
            }
            (Administration::PutUser(user), Some(password).filter(|sent| !sent.is_empty()))
        }
        About::Role(name) => {
            let Some(sent) = fields(api, request).await else { return Ok(invalid_json()) };
            let Some(role) = role_from(&sent) else { return Ok(invalid_json()) };
            if role.name != name {
                return Ok(other_name("Role"));
            }
            (Administration::PutRole(role), None)
        }
        About::Enable | About::Users | About::Roles | About::Invalid => {
            (Administration::Enable, None)
        }
    };
    api.keys.administrate(asked, password).await.map(|done| answer(&done))
}

fn invalid_json() -> Reply {
    reply::message(StatusCode::BAD_REQUEST, "Invalid JSON in request body.")
}

fn other_name(what: &str) -> Reply {
    let message = format!("{what} JSON name does not match the name in the URL");
    reply::message(StatusCode::BAD_REQUEST, &message)
}

fn answer(done: &Administered) -> Reply {
    let mut out = Vec::new();
    let is_created = match done {
        Administered::Done => return reply::json_document(out),
        Administered::User { name, roles, is_created } => {
            out.extend_from_slice(b"{\"user\":");
            json::write_string(&mut out, name.as_bytes());
            out.extend_from_slice(b",\"roles\":");
            write_texts(&mut out, roles.as_deref());
            out.push(b'}');
            *is_created
        }
        Administered::Role { role, is_created } => {
            write_role(&mut out, role);
            *is_created
        }
    };
    out.push(b'\n');
    let mut reply = reply::json_document(out);
    if is_created {
        *reply.status_mut() = StatusCode::CREATED;
    }
    reply
}

/// The fields of the first JSON document in the body; `None`: it is no object.
async fn fields<K: Keys>(api: &Api<K>, request: Request<RequestBody>) -> Option<Fields> {
    let body = body::read(request.into_body(), REQUEST_BYTES, &api.bodies).await.ok()?;
    let mut documents = serde_json::Deserializer::from_slice(&body.bytes).into_iter::<Value>();
    match documents.next()?.ok()? {
        Value::Object(fields) => Some(Fields(fields)),
        // Go takes it for an object without fields.
        Value::Null => Some(Fields(Map::new())),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}

/// An object whose fields are found in any case, and are nothing where they are null or missing.
struct Fields(Map<String, Value>);

impl Fields {
    fn get(&self, name: &str) -> Option<&Value> {
        let mut named = self.0.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.next_back().map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// `None` within: it is not there. `None`: it is of another type.
    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map_or(Some(String::new()), |value| value.as_str().map(str::to_owned))
    }

    fn texts(&self, name: &str) -> Option<Option<Vec<String>>> {
        let Some(value) = self.get(name) else { return Some(None) };
        // Go leaves an element that is null empty.
        let text = |value: &Value| {
            let text = value.as_str().or(value.is_null().then_some(""));
            text.map(str::to_owned)
        };
        value.as_array()?.iter().map(text).collect::<Option<Vec<String>>>().map(Some)
    }

    fn object(&self, name: &str) -> Option<Option<Fields>> {
        match self.get(name) {
            None => Some(None),
            Some(Value::Object(fields)) => Some(Some(Fields(fields.clone()))),
            Some(_) => None,
        }
    }

    fn permissions(&self, name: &str) -> Option<Option<Permissions>> {
        let Some(permissions) = self.object(name)? else { return Some(None) };
        let Some(kv) = permissions.object("kv")? else { return Some(Some(Permissions::default())) };
        Some(Some(Permissions { read: kv.texts("read")?, write: kv.texts("write")? }))
    }
}

fn user_from(sent: &Fields) -> Option<(PutUser, String)> {
    let user = PutUser {
        name: sent.text("user")?,
        password: None,
        roles: sent.texts("roles")?,
        grant: sent.texts("grant")?.unwrap_or_default(),
        revoke: sent.texts("revoke")?.unwrap_or_default(),
    };
    Some((user, sent.text("password")?))
}

fn role_from(sent: &Fields) -> Option<PutRole> {
    Some(PutRole {
        name: sent.text("role")?,
        permissions: sent.permissions("permissions")?.unwrap_or_default(),
        grant: sent.permissions("grant")?,
        revoke: sent.permissions("revoke")?,
    })
}

fn write_user(out: &mut Vec<u8>, name: &str, roles: &[Role]) {
    out.extend_from_slice(b"{\"user\":");
    json::write_string(out, name.as_bytes());
    if !roles.is_empty() {
        out.extend_from_slice(b",\"roles\":");
        write_list(out, roles.iter(), write_role);
    }
    out.push(b'}');
}

fn write_role(out: &mut Vec<u8>, role: &Role) {
    out.extend_from_slice(b"{\"role\":");
    json::write_string(out, role.name.as_bytes());
    out.extend_from_slice(b",\"permissions\":{\"kv\":{\"read\":");
    write_texts(out, role.permissions.read.as_deref());
    out.extend_from_slice(b",\"write\":");
    write_texts(out, role.permissions.write.as_deref());
    out.extend_from_slice(b"}}}");
}

fn write_texts(out: &mut Vec<u8>, texts: Option<&[String]>) {
    match texts {
        None => out.extend_from_slice(b"null"),
        Some([]) => out.extend_from_slice(b"[]"),
        Some(texts) => {
            write_list(out, texts.iter(), |out, text| json::write_string(out, text.as_bytes()));
        }
    }
}

/// A list; `null` where it is empty.
fn write_list<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    let mut open = b'[';
    for item in items {
        out.push(open);
        write(out, item);
        open = b',';
    }
    out.extend_from_slice(if open == b'[' { b"null" } else { b"]" });
}
