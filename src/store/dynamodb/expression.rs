//! Compiles an operation on a node's item to a condition and an update expression.
//!
//! Nothing is decided here: a condition says exactly what [`NodeOp::applies`] says, an update
//! does exactly what [`Mutation::apply`] does, and a test holds both against DynamoDB's own
//! evaluation. No attribute's name is one of DynamoDB's reserved words, so none needs a
//! placeholder.

use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{
    ACTION, BEFORE, CREATED, DIR, DRAINING, EXPIRATION, MODIFIED, PURGE, REMOVED, STAMP, VALUE,
    number, value, write_id, write_slot,
};
use crate::v2::{
    Action, EtcdIndex, Mutation, NodeOp, Precondition, UnixMs, Value, WriteId, purge_at,
};

/// What an UpdateItem, alone or in a transaction, is made of.
#[derive(Debug, Default)]
pub(super) struct Expression {
    set: Vec<String>,
    remove: Vec<&'static str>,
    conditions: Vec<String>,
    values: Vec<(String, AttributeValue)>,
}

/// The write's index.
const INDEX: &str = ":i";
/// The write's id.
const ID: &str = ":w";

impl Expression {
    /// Compiles an operation.
    pub(super) fn compile(op: &NodeOp) -> Expression {
        let mut expression = Expression::default();
        expression.mutate(op, op.id);
        expression.in_order(op);
        for precondition in &op.expect {
            expression.expect(precondition);
        }
        expression
    }

    /// The update expression.
    pub(super) fn update(&self) -> String {
        let set = format!("SET {}", self.set.join(", "));
        if self.remove.is_empty() {
            return set;
        }
        format!("{set} REMOVE {}", self.remove.join(", "))
    }

    /// The condition expression.
    pub(super) fn condition(&self) -> String {
        self.conditions.join(" AND ")
    }

    /// The values that both refer to.
    pub(super) fn values(self) -> Vec<(String, AttributeValue)> {
        self.values
    }

    fn mutate(&mut self, op: &NodeOp, id: WriteId) {
        match &op.mutation {
            Mutation::WriteFile { value: written, creates, expiration } => {
                if let Some(written) = written {
                    self.set(VALUE, value(written));
                    self.remove.extend([DIR, STAMP]);
                }
                if *creates {
                    self.set_index(CREATED, id);
                }
                self.set_index(MODIFIED, id);
                self.set_written(op.action, id);
                self.set_expiration(*expiration);
                self.set_purge(expiration.map(purge_at));
                self.remove.extend([REMOVED, BEFORE, DRAINING]);
            }
            Mutation::MakeDir { stamped, expiration } => {
                self.set(DIR, AttributeValue::Bool(true));
                if *stamped {
                    self.set_index(STAMP, id);
                } else {
                    self.remove.push(STAMP);
                }
                self.set_index(CREATED, id);
                self.set_index(MODIFIED, id);
                self.set_written(op.action, id);
                self.set_expiration(*expiration);
                self.set_purge(None);
                self.remove.extend([VALUE, REMOVED, BEFORE, DRAINING]);
            }
            Mutation::SetDirTtl { expiration } => {
                self.set_index(STAMP, id);
                self.set_written(op.action, id);
                self.set_expiration(*expiration);
            }
            Mutation::Stamp { last } => self.set(STAMP, number(last)),
            Mutation::Remove { draining, now } => {
                self.set.push(format!("{BEFORE} = {MODIFIED}"));
                self.set_index(MODIFIED, id);
                self.set_written(op.action, id);
                self.set_removed(*now, *draining);
            }
            Mutation::EndDrain { now } => self.set_removed(*now, false),
            Mutation::RuleOut => self.set_id(id),
            Mutation::RuleOutNew { now } => {
                self.set(VALUE, value(&Value::from("")));
                for name in [CREATED, MODIFIED, BEFORE] {
                    self.set(name, number(EtcdIndex(0)));
                }
                self.set_id(id);
                self.set_removed(*now, false);
            }
        }
    }

    /// Only over an item whose highest index is below the write's. That is the higher one of
    /// its modifiedIndex and its stamp: every write sets one of them to its own index. Where the
    /// mutation has nothing to start from without an item, there must be one of its kind.
    fn in_order(&mut self, op: &NodeOp) {
        let id = op.id;
        let over_any = match &op.mutation {
            Mutation::WriteFile { value, creates, .. } => value.is_some() && *creates,
            Mutation::MakeDir { .. } => true,
            Mutation::SetDirTtl { .. } | Mutation::Stamp { .. } => {
                self.exists(DIR);
                false
            }
            Mutation::Remove { .. } => false,
            Mutation::EndDrain { .. } => return self.exists(MODIFIED),
            Mutation::RuleOut => {
                self.exists(MODIFIED);
                return self.later_id(id);
            }
            Mutation::RuleOutNew { .. } => return,
        };
        if op.leaves_its_id() {
            self.later_id(id);
        }
        self.value(INDEX, number(id.index));
        let modified = format!("{MODIFIED} < {INDEX}");
        self.require(if over_any {
            format!("(attribute_not_exists({MODIFIED}) OR {modified})")
        } else {
            modified
        });
        self.require(format!("(attribute_not_exists({STAMP}) OR {STAMP} < {INDEX})"));
    }

    fn expect(&mut self, precondition: &Precondition) {
        match precondition {
            Precondition::Absent => self.require(format!(
                "(attribute_not_exists({MODIFIED}) OR \
                 attribute_exists({REMOVED}) AND attribute_not_exists({DRAINING}))"
            )),
            Precondition::LiveFile(now) => {
                self.node_with(VALUE);
                self.not_past(*now);
            }
            Precondition::LiveDir(now) => {
                self.node_with(DIR);
                self.not_past(*now);
            }
            Precondition::File => self.node_with(VALUE),
            Precondition::Dir => self.node_with(DIR),
            Precondition::Value(held) => self.node_where(VALUE, value(held)),
            Precondition::Modified(index) => self.node_where(MODIFIED, number(index)),
            Precondition::Expiration(at) => self.node_where(EXPIRATION, number(at.0)),
            Precondition::Stamp(Some(stamp)) => self.node_where(STAMP, number(stamp)),
            Precondition::Stamp(None) => {
                self.node_with(MODIFIED);
                self.require(format!("attribute_not_exists({STAMP})"));
            }
            Precondition::Draining(index) => {
                self.exists(DRAINING);
                let placeholder = self.fresh(number(index));
                self.require(format!("{MODIFIED} = {placeholder}"));
            }
            Precondition::Item => self.exists(MODIFIED),
            Precondition::NoItem => self.require(format!("attribute_not_exists({MODIFIED})")),
            Precondition::NotWritten(id) => {
                let (slot, placeholder) = (write_slot(*id), self.fresh(write_id(*id)));
                self.require(format!("(attribute_not_exists({slot}) OR {slot} <> {placeholder})"));
            }
        }
    }

    fn set_written(&mut self, action: Option<Action>, id: WriteId) {
        self.set_id(id);
        let action = action.map(|action| AttributeValue::S(action.name().to_owned()));
        self.set_or_remove(ACTION, action);
    }

    fn set_id(&mut self, id: WriteId) {
        self.value(ID, write_id(id));
        self.set.push(format!("{} = {ID}", write_slot(id)));
    }

    /// Only over a lower id in this one's slot: ids are kept so that their bytes sort as they do.
    fn later_id(&mut self, id: WriteId) {
        let slot = write_slot(id);
        self.value(ID, write_id(id));
        self.require(format!("(attribute_not_exists({slot}) OR {slot} < {ID})"));
    }

    fn set_removed(&mut self, now: UnixMs, draining: bool) {
        let purge = purge_at(now);
        self.set(REMOVED, number(purge.0));
        if draining {
            self.set(DRAINING, AttributeValue::Bool(true));
        } else {
            self.remove.push(DRAINING);
        }
        self.set_purge((!draining).then_some(purge));
    }

    fn set_expiration(&mut self, expiration: Option<UnixMs>) {
        self.set_or_remove(EXPIRATION, expiration.map(|at| number(at.0)));
    }

    fn set_purge(&mut self, at: Option<UnixMs>) {
        self.set_or_remove(PURGE, at.map(|at| number(at.ceil_seconds())));
    }

    fn set_or_remove(&mut self, name: &'static str, value: Option<AttributeValue>) {
        match value {
            Some(value) => self.set(name, value),
            None => self.remove.push(name),
        }
    }

    fn set(&mut self, name: &'static str, value: AttributeValue) {
        let placeholder = format!(":{name}");
        self.set.push(format!("{name} = {placeholder}"));
        self.values.push((placeholder, value));
    }

    fn set_index(&mut self, name: &'static str, id: WriteId) {
        self.value(INDEX, number(id.index));
        self.set.push(format!("{name} = {INDEX}"));
    }

    fn node_with(&mut self, name: &'static str) {
        self.exists(name);
        self.require(format!("attribute_not_exists({REMOVED})"));
    }

    fn node_where(&mut self, name: &'static str, value: AttributeValue) {
        let placeholder = self.fresh(value);
        self.require(format!("{name} = {placeholder}"));
        self.require(format!("attribute_not_exists({REMOVED})"));
    }

    fn not_past(&mut self, now: UnixMs) {
        let placeholder = self.fresh(number(now.0));
        self.require(format!(
            "(attribute_not_exists({EXPIRATION}) OR {EXPIRATION} > {placeholder})"
        ));
    }

    fn exists(&mut self, name: &'static str) {
        self.require(format!("attribute_exists({name})"));
    }

    fn require(&mut self, condition: String) {
        if !self.conditions.contains(&condition) {
            self.conditions.push(condition);
        }
    }

    fn value(&mut self, placeholder: &str, value: AttributeValue) {
        if !self.values.iter().any(|(name, _)| name == placeholder) {
            self.values.push((placeholder.to_owned(), value));
        }
    }

    fn fresh(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":x{}", self.values.len());
        self.values.push((placeholder.clone(), value));
        placeholder
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v2::Key;

    fn compile(expect: Vec<Precondition>, mutation: Mutation) -> (String, String) {
        let key = Key::parse(b"/a").expect("clean");
        let id = WriteId { index: EtcdIndex(9), gateway: 17 };
        let op = NodeOp { key, id, expect, mutation, action: Some(Action::Set) };
        let expression = Expression::compile(&op);
        let texts = (expression.update(), expression.condition());
        for (name, _) in expression.values() {
            let used = [&texts.0, &texts.1].into_iter().any(|text| {
                text.split(|c: char| !c.is_alphanumeric() && c != ':').any(|word| word == name)
            });
            assert!(used, "DynamoDB refuses a value that is not used: {name} in {texts:?}");
        }
        texts
    }

    #[test]
    fn a_plain_put_is_one_update() {
        let value = Some(Value::from("x"));
        let mutation = Mutation::WriteFile { value, creates: true, expiration: None };
        let (update, condition) = compile(vec![Precondition::LiveFile(UnixMs(5))], mutation);
        assert_eq!(
            update,
            "SET v = :v, c = :i, m = :i, w1 = :w, a = :a REMOVE d, k, e, t, r, b, g"
        );
        assert_eq!(
            condition,
            "(attribute_not_exists(w1) OR w1 < :w) AND \
             (attribute_not_exists(m) OR m < :i) AND (attribute_not_exists(k) OR k < :i) AND \
             attribute_exists(v) AND attribute_not_exists(r) AND \
             (attribute_not_exists(e) OR e > :x4)"
        );
    }

    #[test]
    fn a_stamp_touches_nothing_else() {
        let stamp = Mutation::Stamp { last: EtcdIndex(12) };
        let (update, condition) = compile(vec![Precondition::Dir], stamp);
        assert_eq!(update, "SET k = :k");
        assert_eq!(
            condition,
            "attribute_exists(d) AND m < :i AND (attribute_not_exists(k) OR k < :i) AND \
             attribute_not_exists(r)"
        );
    }

    #[test]
    fn the_end_of_a_drain_needs_no_index() {
        let mutation = Mutation::EndDrain { now: UnixMs(1) };
        let (update, condition) = compile(vec![Precondition::Draining(EtcdIndex(8))], mutation);
        assert_eq!(update, "SET r = :r, t = :t REMOVE g");
        assert_eq!(condition, "attribute_exists(m) AND attribute_exists(g) AND m = :x2");
    }
}
