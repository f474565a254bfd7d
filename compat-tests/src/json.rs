//! JSON whose objects keep the order of their fields.
//!
//! The wire has a field order (`key`, `value`, `dir`, ...), and a suite that reads objects into
//! a sorted map cannot see it. Numbers are whole here: v2 has no others. Not a serialiser.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON value with ordered objects.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number.
    Number(i128),
    /// A number with a fraction; only the statistics have such.
    Float(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, fields in the order of the wire.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads one JSON value; anything but white space after it is an error.
    ///
    /// # Errors
    /// The bytes are not one JSON value.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes)
            .map_err(|problem| format!("{problem} in {:?}", String::from_utf8_lossy(bytes)))
    }

    /// The field of an object, `None` where there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(fields) = self else { return None };
        fields.iter().find_map(|(field, value)| (field == name).then_some(value))
    }

    /// The value behind a path of fields, as `node.nodes`.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |value, field| value.get(field))
    }

    /// The string behind a path of fields.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        match self.at(path) {
            Some(Self::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The unsigned number behind a path of fields.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<u64> {
        match self.at(path) {
            Some(Self::Number(number)) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The array behind a path of fields; empty where there is none.
    #[must_use]
    pub fn list(&self, path: &str) -> &[Self] {
        match self.at(path) {
            Some(Self::List(items)) => items,
            _ => &[],
        }
    }

    /// The names of an object's fields in the order of the wire.
    #[must_use]
    pub fn fields(&self) -> Vec<&str> {
        let Self::Object(fields) = self else {
            return Vec::new();
        };
        fields.iter().map(|(name, _)| name.as_str()).collect()
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(i128::from(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(i128::from(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut fields: Vec<(String, Json)> = Vec::new();
        while let Some((name, value)) = entries.next_entry::<String, Json>()? {
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom(format!("field {name:?} twice")));
            }
            fields.push((name, value));
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_order_is_kept() {
        let json = Json::parse(br#"{"node":{"value":"1","key":"/a"},"action":"get"}"#)
            .expect("this is JSON");
        assert_eq!(json.fields(), ["node", "action"]);
        assert_eq!(json.at("node").expect("it has a node").fields(), ["value", "key"]);
        assert_eq!(json.text("node.key"), Some("/a"));
    }

    #[test]
    fn a_field_that_comes_twice_is_refused() {
        assert!(Json::parse(br#"{"a":1,"a":2}"#).is_err());
    }
}
