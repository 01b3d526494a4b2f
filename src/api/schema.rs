//! Pieces of the OpenAPI schema that derive macros do not give: validation rules, list types, patterns.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// A CEL rule with the message that a user reads when it is broken.
pub(super) struct Rule<'a> {
    expression: &'a str,
    message: &'a str,
    field: Option<&'a str>,
}

impl<'a> Rule<'a> {
    /// A rule with a fixed message.
    pub(super) const fn new(rule: &'a str, message: &'a str) -> Self {
        Self { expression: rule, message, field: None }
    }

    /// Reports the failure at a field below the one that the rule stands on.
    pub(super) const fn at(mut self, field: &'a str) -> Self {
        self.field = Some(field);
        self
    }

    fn value(&self) -> Value {
        match self.field {
            Some(field) => json!({"rule": self.expression, "message": self.message, "fieldPath": field}),
            None => json!({"rule": self.expression, "message": self.message}),
        }
    }
}

/// The value of `x-kubernetes-validations`.
pub(super) fn rules(rules: &[Rule<'_>]) -> Value {
    rules.iter().map(Rule::value).collect()
}

/// The value of `x-kubernetes-validations` for a name that other objects' names are made from.
pub(super) fn label_rule(what: &str) -> Value {
    rules(&[Rule::new(
        "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        &format!("name {what} with lower-case letters, digits and hyphens, as in its metadata.name"),
    )])
}

/// A set of names of objects.
fn names(most: u64, longest: u64, also: &str) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": most,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": longest,
            "x-kubernetes-validations": rules(&[Rule::new(
                &format!("{also}self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')"),
                "write lower-case letters, digits and hyphens only, with a letter or digit at both ends",
            )]),
        },
    })
}

/// A set of Developers' names.
pub(super) fn developer_names(_: &mut SchemaGenerator) -> Schema {
    names(1_000, 38, "")
}

/// A set of teams' names.
pub(super) fn team_names(_: &mut SchemaGenerator) -> Schema {
    names(16, 63, "")
}

/// A set of Roles' names.
pub(super) fn role_names(_: &mut SchemaGenerator) -> Schema {
    names(16, 40, "")
}

/// A set of Environments' names.
pub(super) fn environment_names(_: &mut SchemaGenerator) -> Schema {
    names(64, 24, "")
}

/// A set of Environments' names, or `*` alone.
pub(super) fn environment_names_or_all(_: &mut SchemaGenerator) -> Schema {
    let mut schema = names(64, 24, "self == '*' || ");
    schema.insert("minItems".into(), 1.into());
    schema.insert(
        "x-kubernetes-validations".into(),
        rules(&[Rule::new(
            "!self.exists(e, e == '*') || self.size() == 1",
            "write [\"*\"] alone for every Environment, or name the Environments",
        )]),
    );
    schema
}

/// Resource quantities by name, as Kubernetes writes them; numbers are accepted as well as strings.
pub(super) fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 64,
            "x-kubernetes-validations": rules(&[Rule::new(
                "isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('0')) >= 0",
                "write a quantity of zero or more, for example 500m, \"2\" or 4Gi",
            )]),
        },
    })
}

/// Labels of a namespace.
pub(super) fn label_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 63},
        "x-kubernetes-validations": rules(&[label_syntax()]),
    })
}

/// What Kubernetes would refuse on a namespace could never be matched or set either.
pub(super) const fn label_syntax() -> Rule<'static> {
    Rule::new(
        "self.all(k, !format.qualifiedName().validate(k).hasValue() && !format.labelValue().validate(self[k]).hasValue())",
        "write labels as Kubernetes does: letters, digits, hyphens, underscores and dots, with a letter or digit at both ends, for example team: payments",
    )
}

/// Conditions on labels.
pub(super) fn label_expressions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "object",
            "required": ["key", "operator"],
            "properties": {
                "key": {
                    "type": "string",
                    "description": "The label.",
                    "maxLength": 317,
                    "x-kubernetes-validations": rules(&[Rule::new(
                        "!format.qualifiedName().validate(self).hasValue()",
                        "write the name of a label: letters, digits, hyphens, underscores and dots, for example team or example.com/team",
                    )]),
                },
                "operator": {
                    "type": "string",
                    "description": "In or NotIn some values; Exists or DoesNotExist.",
                    "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                },
                "values": {
                    "type": "array",
                    "description": "The values for In and NotIn.",
                    "maxItems": 64,
                    // A rule here would cost more than the API server allows; a pattern is free.
                    "items": {"type": "string", "maxLength": 63, "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"},
                },
            },
            "x-kubernetes-validations": rules(&[Rule::new(
                "self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : !has(self.values) || self.values.size() == 0",
                "In and NotIn need at least one of values; Exists and DoesNotExist take none",
            )]),
        },
    })
}

/// Conditions, one of each type.
pub(super) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
    let mut schema = generator.subschema_for::<Vec<Condition>>();
    schema.insert("x-kubernetes-list-type".into(), "map".into());
    schema.insert("x-kubernetes-list-map-keys".into(), json!(["type"]));
    schema
}
