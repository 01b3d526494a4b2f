//! What this server can, and which attributes it keeps (RFC 7643, sections 5 to 7; RFC 7644, section 4).

use serde_json::{Map, Value, json};

use super::error::ScimError;
use super::list::{MOST, all};
use super::schema::{Attribute, SCHEMAS, Schema, Type, core, extension};
use super::{ResourceKind, schema};

const PROVIDER_CONFIG: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";
const RESOURCE_TYPE: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";

/// What is served of SCIM. `base` is where the Source is.
pub fn provider_config(base: &str) -> Value {
    json!({
        "schemas": [PROVIDER_CONFIG],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": MOST},
        "changePassword": {"supported": false},
        "sort": {"supported": false},
        "etag": {"supported": true},
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "The token in the Secret that the Source names, as Authorization: Bearer",
            "primary": true,
        }],
        "meta": {"resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig")},
    })
}

/// The types of resources, or one of them.
pub fn resource_types(base: &str, id: Option<&str>) -> Result<Value, ScimError> {
    let Some(id) = id else { return Ok(all(ResourceKind::ALL.iter().map(|kind| resource_type(base, *kind)).collect())) };
    let kind = ResourceKind::of(id).ok_or_else(|| ScimError::not_found(&format!("the ResourceType {id}")))?;
    Ok(resource_type(base, kind))
}

fn resource_type(base: &str, kind: ResourceKind) -> Value {
    let extensions: Vec<Value> = extension(kind).iter().map(|schema| json!({"schema": schema.id, "required": false})).collect();
    json!({
        "schemas": [RESOURCE_TYPE],
        "id": kind.to_string(),
        "name": kind.to_string(),
        "description": core(kind).description,
        "endpoint": format!("/{}", kind.endpoint()),
        "schema": core(kind).id,
        "schemaExtensions": extensions,
        "meta": {"resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{kind}")},
    })
}

/// The schemas, or one of them.
pub fn schemas(base: &str, id: Option<&str>) -> Result<Value, ScimError> {
    let Some(id) = id else { return Ok(all(SCHEMAS.iter().map(|schema| shown(base, schema)).collect())) };
    let schema = SCHEMAS.iter().find(|schema| schema.id.eq_ignore_ascii_case(id));
    schema.map(|schema| shown(base, schema)).ok_or_else(|| ScimError::not_found(&format!("the Schema {id}")))
}

fn shown(base: &str, schema: &Schema) -> Value {
    json!({
        "schemas": [SCHEMA],
        "id": schema.id,
        "name": schema.name,
        "description": schema.description,
        "attributes": schema.attributes.iter().map(attribute).collect::<Vec<_>>(),
        "meta": {"resourceType": "Schema", "location": format!("{base}/Schemas/{}", schema.id)},
    })
}

fn attribute(of: &schema::Attribute) -> Value {
    let Attribute { name, description, kind, multi, required, case_exact, mutability, always, unique, canonical, references, parts } = of;
    let mut map = Map::from_iter([
        ("name".to_owned(), json!(name)),
        ("type".to_owned(), kind.as_str().into()),
        ("multiValued".to_owned(), json!(multi)),
        ("description".to_owned(), json!(description)),
        ("required".to_owned(), json!(required)),
        ("caseExact".to_owned(), json!(case_exact)),
        ("mutability".to_owned(), mutability.as_str().into()),
        ("returned".to_owned(), if *always { "always" } else { "default" }.into()),
        ("uniqueness".to_owned(), if *unique { "server" } else { "none" }.into()),
    ]);
    if !canonical.is_empty() {
        map.insert("canonicalValues".to_owned(), json!(canonical));
    }
    if *kind == Type::Reference {
        map.insert("referenceTypes".to_owned(), json!(references));
    }
    if *kind == Type::Complex {
        map.insert("subAttributes".to_owned(), parts.iter().map(attribute).collect());
    }
    Value::Object(map)
}
