//! The IAM policies of `deploy/iam`, and a guard who lets a call pass only where they allow it.
//!
//! What a call needs is told by AWS's documentation: a transaction has no permission of its own, but
//! needs those of its parts; a batch needs its table; a stream is a resource beside its table.
//! Not here: IAM as such. A policy with anything in it that is not understood is refused, so that
//! none counts as checked that is not. Invariant: what no statement allows is denied.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::proxy::call::{Call, Kind};

/// Something that has to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    action: String,
    resource: String,
    /// The partition keys that it names.
    leading_keys: Vec<String>,
}

/// One policy.
#[derive(Clone, Debug)]
struct Policy {
    name: String,
    statements: Vec<Statement>,
}

/// What one statement of it allows.
#[derive(Clone, Debug)]
struct Statement {
    actions: Vec<String>,
    resource: String,
    /// What every partition key must be like, where there is a condition.
    leading_keys: Option<String>,
}

/// Holds calls against policies, and keeps account.
#[derive(Clone, Debug)]
pub struct Guard {
    table: String,
    policies: Vec<Policy>,
    used: BTreeSet<String>,
    denied: BTreeSet<String>,
}

impl Guard {
    /// A guard with these policies of `deploy/iam`, for a keyspace of a table.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn new(policies: &[&str], table: &str, keyspace: &str) -> Result<Self, String> {
        let read = |name: &&str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/iam");
            let text = fs::read_to_string(path.join(format!("{name}.json")))
                .map_err(|error| format!("{name}: {error}"))?;
            let text = text
                .replace("${table_arn}", &format!("arn:aws:dynamodb:*:*:table/{table}"))
                .replace("${keyspace}", keyspace);
            let policy = serde_json::from_str(&text).map_err(|error| error.to_string());
            let statements = policy.and_then(|policy: Value| statements(&policy));
            let statements = statements.map_err(|problem| format!("{name}: {problem}"))?;
            Ok(Policy { name: (*name).to_owned(), statements })
        };
        let policies = policies.iter().map(read).collect::<Result<_, String>>()?;
        let (used, denied) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { table: table.to_owned(), policies, used, denied })
    }

    /// One for a gateway that makes its table and has the keyspace that it has by default.
    ///
    /// # Errors
    /// As [`Guard::new`].
    pub fn of_gateway(table: &str) -> Result<Self, String> {
        Self::new(&["create-table", "serve"], table, "default")
    }

    /// Whether a call may pass.
    pub(crate) fn allows(&mut self, call: &Call) -> bool {
        let needs = needs(call, &self.table);
        let mut allowed = !needs.is_empty();
        if needs.is_empty() {
            self.denied.insert(format!("{}, which nobody knows", call.target));
        }
        for need in needs {
            let by = self.policies.iter().filter(|policy| policy.allows(&need));
            let by: Vec<String> = by.map(|by| format!("{} {}", by.name, need.action)).collect();
            if by.is_empty() {
                allowed = false;
                self.denied.insert(format!("{need:?}"));
            }
            self.used.extend(by);
        }
        allowed
    }

    /// What was asked for and is not allowed.
    #[must_use]
    pub fn denied(&self) -> Vec<String> {
        self.denied.iter().cloned().collect()
    }

    /// The same as violations, each a line.
    pub fn violations(&self) -> impl Iterator<Item = String> + use<> {
        let denied = self.denied().into_iter();
        denied.map(|need| format!("no policy of deploy/iam allows what a gateway did: {need}"))
    }

    /// The entries of the policies that nothing needed: `<policy> <action>`.
    #[must_use]
    pub fn unused(&self) -> Vec<String> {
        let entries = self.policies.iter().flat_map(|policy| {
            let actions = policy.statements.iter().flat_map(|statement| &statement.actions);
            actions.map(|action| format!("{} {action}", policy.name))
        });
        entries.filter(|entry| !self.used.contains(entry)).collect()
    }
}

impl Policy {
    fn allows(&self, need: &Need) -> bool {
        self.statements.iter().any(|statement| {
            let keys = &need.leading_keys;
            let keys_fit = statement.leading_keys.as_ref().is_none_or(|pattern| {
                !keys.is_empty() && keys.iter().all(|key| is_like(key, pattern))
            });
            keys_fit
                && statement.actions.contains(&need.action)
                && is_like(&need.resource, &statement.resource)
        })
    }
}

/// The statements of a policy, where each is of the kind that is understood here.
fn statements(policy: &Value) -> Result<Vec<Statement>, String> {
    let listed = policy["Statement"].as_array().ok_or("no list of statements")?;
    let statements: Vec<Statement> = listed.iter().map(statement).collect::<Result<_, String>>()?;
    if statements.is_empty() { Err("it allows nothing".to_owned()) } else { Ok(statements) }
}

fn statement(statement: &Value) -> Result<Statement, String> {
    let fields = statement.as_object().ok_or("a statement is an object")?;
    let known = ["Sid", "Effect", "Action", "Resource", "Condition"];
    if let Some(field) = fields.keys().find(|field| !known.contains(&field.as_str())) {
        return Err(format!("{field} is not understood"));
    }
    if statement["Effect"] != "Allow" {
        return Err(format!("the effect {} is not understood", statement["Effect"]));
    }
    let listed = statement["Action"].as_array().ok_or("actions are a list")?;
    let actions: Vec<String> = listed.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if actions.is_empty() || actions.iter().any(|action| action.contains(['*', '?'])) {
        return Err(format!("{listed:?}: each action is to be named"));
    }
    let resource = statement["Resource"].as_str().ok_or("a resource is a string")?.to_owned();
    let leading_keys = fields.get("Condition").map(leading_keys).transpose()?;
    Ok(Statement { actions, resource, leading_keys })
}

/// The pattern of a condition on partition keys that holds for all of them, and not for none.
fn leading_keys(condition: &Value) -> Result<String, String> {
    let pattern = &condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
    let understood = serde_json::json!({
        "ForAllValues:StringLike": { "dynamodb:LeadingKeys": pattern },
        "Null": { "dynamodb:LeadingKeys": "false" },
    });
    match pattern.as_str() {
        Some(pattern) if *condition == understood => Ok(pattern.to_owned()),
        _ => Err(format!("the condition {condition} is not understood")),
    }
}

/// IAM's `*`, any number of any characters.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return text == pattern };
    let Some(left) = text.strip_prefix(start) else { return false };
    let ends = left.char_indices().map(|(at, _)| at).chain([left.len()]);
    ends.into_iter().any(|end| is_like(&left[end..], rest))
}

/// What a call needs to be allowed; nothing where it is not known.
fn needs(call: &Call, guarded: &str) -> Vec<Need> {
    let body = call.json().unwrap_or_default();
    let need = |operation: &str, table: &Value, leading_keys: Vec<String>| Need {
        action: format!("dynamodb:{operation}"),
        resource: format!("arn:aws:dynamodb:r:a:table/{}", table.as_str().unwrap_or_default()),
        leading_keys,
    };
    match call.operation.as_str() {
        operation if call.kind == Kind::Stream => {
            // An iterator does not tell its stream, but was had for a stream that was allowed.
            let of_iterator = format!("arn:aws:dynamodb:r:a:table/{guarded}/stream/iterated");
            let arn = body["StreamArn"].as_str().map(str::to_owned);
            let resource = arn.unwrap_or(of_iterator);
            let action = format!("dynamodb:{operation}");
            vec![Need { action, resource, leading_keys: Vec::new() }]
        }
        _ if !call.target.starts_with("DynamoDB_20120810.") => Vec::new(),
        "BatchGetItem" => {
            let of_table = |(table, request): (&String, &Value)| {
                let keys = request["Keys"].as_array().into_iter().flatten();
                let keys = keys.filter_map(partition).collect();
                need("BatchGetItem", &Value::from(table.as_str()), keys)
            };
            body["RequestItems"].as_object().into_iter().flatten().map(of_table).collect()
        }
        "BatchWriteItem" => {
            let of_table = |(table, requests): (&String, &Value)| {
                let requests = requests.as_array().into_iter().flatten();
                let of_item = |request: &Value| {
                    partition(&request["DeleteRequest"]["Key"])
                        .or_else(|| partition(&request["PutRequest"]["Item"]))
                };
                let keys = requests.filter_map(of_item).collect();
                need("BatchWriteItem", &Value::from(table.as_str()), keys)
            };
            body["RequestItems"].as_object().into_iter().flatten().map(of_table).collect()
        }
        "TransactWriteItems" => {
            let parts = body["TransactItems"].as_array().into_iter().flatten();
            let parts = parts.filter_map(Value::as_object).flat_map(Map::iter);
            let of_part = |(kind, part): (&String, &Value)| {
                // Put, Update, Delete and ConditionCheck.
                need(&format!("{kind}Item"), &part["TableName"], keys(part))
            };
            parts.map(of_part).collect()
        }
        operation => vec![need(operation, &body["TableName"], keys(&body))],
    }
}

/// The partition keys that a request about one item or one partition names.
fn keys(request: &Value) -> Vec<String> {
    let queried = request.get("KeyConditionExpression").map(|condition| {
        let name = condition.as_str().and_then(|text| {
            let words: Vec<&str> = text.split_whitespace().collect();
            let at = words.windows(2).position(|pair| pair == ["pk", "="])?;
            words.get(at + 2).copied()
        });
        request["ExpressionAttributeValues"][name.unwrap_or_default()]["S"].clone()
    });
    let queried = queried.and_then(|key| key.as_str().map(str::to_owned));
    let named = partition(&request["Key"]).or_else(|| partition(&request["Item"]));
    queried.or(named).into_iter().collect()
}

fn partition(item: &Value) -> Option<String> {
    item["pk"]["S"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests;
