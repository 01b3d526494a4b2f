//! The attributes that are kept of what is pushed (RFC 7643, sections 4 and 8.7.1). What stands in no schema is left out when a resource is taken in: passwords,
//! certificates and pictures are no part of a person's access.

use super::ResourceKind;

/// The URN of Users.
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The URN of Groups.
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The URN of what enterprises say of Users besides.
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text.
    String,
    /// True or false.
    Boolean,
    /// A time (RFC 3339).
    DateTime,
    /// A URI.
    Reference,
    /// Several values, each with a name.
    Complex,
}

impl Type {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::DateTime => "dateTime",
            Self::Reference => "reference",
            Self::Complex => "complex",
        }
    }
}

/// Who says a value: the sender ever less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutability {
    /// The sender.
    ReadWrite,
    /// The sender, once.
    Immutable,
    /// This server.
    ReadOnly,
}

impl Mutability {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadWrite => "readWrite",
            Self::Immutable => "immutable",
            Self::ReadOnly => "readOnly",
        }
    }
}

/// An attribute.
#[derive(Debug)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// What it is, for people.
    pub description: &'static str,
    /// The type of its values.
    pub kind: Type,
    /// Whether it has several values.
    pub multi: bool,
    /// Whether every resource has it.
    pub required: bool,
    /// Whether the case of letters counts where it is compared.
    pub case_exact: bool,
    /// Who says it.
    pub mutability: Mutability,
    /// Whether it is shown whatever is asked for.
    pub always: bool,
    /// Whether two resources of a Source may not have the same.
    pub unique: bool,
    /// Words that are usual.
    pub canonical: &'static [&'static str],
    /// What a reference refers to.
    pub references: &'static [&'static str],
    /// The parts of a complex one.
    pub parts: &'static [Attribute],
}

impl Attribute {
    const fn new(name: &'static str, kind: Type, description: &'static str) -> Self {
        Self {
            name,
            description,
            kind,
            multi: false,
            required: false,
            case_exact: false,
            mutability: Mutability::ReadWrite,
            always: false,
            unique: false,
            canonical: &[],
            references: &[],
            parts: &[],
        }
    }

    const fn text(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Type::String, description)
    }

    const fn uri(name: &'static str, references: &'static [&'static str], description: &'static str) -> Self {
        Self { references, case_exact: true, ..Self::new(name, Type::Reference, description) }
    }

    const fn complex(name: &'static str, parts: &'static [Self], description: &'static str) -> Self {
        Self { parts, ..Self::new(name, Type::Complex, description) }
    }

    const fn several(self) -> Self {
        Self { multi: true, ..self }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn exact(self) -> Self {
        Self { case_exact: true, ..self }
    }

    const fn immutable(self) -> Self {
        Self { mutability: Mutability::Immutable, ..self }
    }

    const fn read_only(self) -> Self {
        Self { mutability: Mutability::ReadOnly, ..self }
    }

    const fn always(self) -> Self {
        Self { always: true, ..self }
    }

    const fn unique(self) -> Self {
        Self { unique: true, ..self }
    }

    const fn usually(self, canonical: &'static [&'static str]) -> Self {
        Self { canonical, ..self }
    }

    /// Its part of that name, in whatever case of letters.
    pub fn part(&self, name: &str) -> Option<&'static Self> {
        find(self.parts, name)
    }
}

/// A schema.
#[derive(Debug)]
pub struct Schema {
    /// Its URN.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it is, for people.
    pub description: &'static str,
    /// Its attributes.
    pub attributes: &'static [Attribute],
}

const PRIMARY: Attribute = Attribute::new("primary", Type::Boolean, "Whether this is the value that is meant where there is room for one");
const DISPLAY: Attribute = Attribute::text("display", "The value as people read it");

/// What several values of one sort have in common.
macro_rules! plural {
    ($value:expr, $($canonical:literal),*) => {
        &[$value, DISPLAY, Attribute::text("type", "What it is for").usually(&[$($canonical),*]), PRIMARY]
    };
}

const NAME: &[Attribute] = &[
    Attribute::text("formatted", "The whole name as people say it"),
    Attribute::text("familyName", "The family name"),
    Attribute::text("givenName", "The given name"),
    Attribute::text("middleName", "Middle names"),
    Attribute::text("honorificPrefix", "What stands before the name"),
    Attribute::text("honorificSuffix", "What stands behind the name"),
];

const ADDRESS: &[Attribute] = &[
    Attribute::text("formatted", "The whole address"),
    Attribute::text("streetAddress", "The street"),
    Attribute::text("locality", "The city"),
    Attribute::text("region", "The state or region"),
    Attribute::text("postalCode", "The postal code"),
    Attribute::text("country", "The country"),
    Attribute::text("type", "What it is for").usually(&["work", "home", "other"]),
    PRIMARY,
];

const GROUPS: &[Attribute] = &[
    Attribute::text("value", "The id of the Group").exact().read_only(),
    Attribute::uri("$ref", &["Group"], "Where the Group is").read_only(),
    Attribute::text("display", "The Group's name").read_only(),
    Attribute::text("type", "How she is a member").usually(&["direct"]).read_only(),
];

const MANAGER_PARTS: &[Attribute] = &[
    Attribute::text("value", "The id of the User who is the manager").exact(),
    Attribute::uri("$ref", &["User"], "Where that User is"),
    Attribute::text("displayName", "The manager's name").read_only(),
];

const MEMBERS: &[Attribute] = &[
    Attribute::text("value", "The id of the member").exact().immutable(),
    Attribute::uri("$ref", &["User", "Group"], "Where the member is").immutable(),
    Attribute::text("type", "Whether it is a User or a Group").usually(&["User", "Group"]).immutable(),
];

/// What every resource has, besides what its schemas say.
pub const COMMON: &[Attribute] = &[
    Attribute::text("id", "What this server knows it by").exact().read_only().always(),
    Attribute::text("externalId", "What the sender knows it by").exact(),
    Attribute::complex(
        "meta",
        &[
            Attribute::text("resourceType", "User or Group").exact().read_only(),
            Attribute::new("created", Type::DateTime, "When it was made").exact().read_only(),
            Attribute::new("lastModified", Type::DateTime, "When it was changed last").exact().read_only(),
            Attribute::uri("location", &["uri"], "Where it is").read_only(),
            Attribute::text("version", "Its ETag").exact().read_only(),
        ],
        "What this server says of it",
    )
    .read_only(),
    Attribute::uri("schemas", &["uri"], "The URNs of its schemas").several().read_only().always(),
];

/// Users.
pub const USERS: Schema = Schema {
    id: USER,
    name: "User",
    description: "A person",
    attributes: &[
        Attribute::text("userName", "The login, which nobody else of the Source has").required().unique(),
        Attribute::complex("name", NAME, "The parts of the name"),
        Attribute::text("displayName", "The name as people say it"),
        Attribute::text("nickName", "What she is called by friends"),
        Attribute::uri("profileUrl", &["external"], "A page about her"),
        Attribute::text("title", "The title, such as Vice President"),
        Attribute::text("userType", "What she is to the organisation, such as Contractor"),
        Attribute::text("preferredLanguage", "The language that she prefers"),
        Attribute::text("locale", "Where she is, for formats"),
        Attribute::text("timezone", "Her time zone"),
        Attribute::new("active", Type::Boolean, "Whether she may have anything: false suspends her; left out, nothing changes"),
        Attribute::complex("emails", plural!(Attribute::text("value", "The address"), "work", "home", "other"), "E-mail addresses")
            .several(),
        Attribute::complex(
            "phoneNumbers",
            plural!(Attribute::text("value", "The number"), "work", "home", "mobile", "fax", "pager", "other"),
            "Telephone numbers",
        )
        .several(),
        Attribute::complex("ims", plural!(Attribute::text("value", "The address"), "xmpp", "skype"), "Addresses for instant messages")
            .several(),
        Attribute::complex("addresses", ADDRESS, "Postal addresses").several(),
        Attribute::complex("groups", GROUPS, "The Groups that she is in, which are changed there").several().read_only(),
        Attribute::complex("entitlements", plural!(Attribute::text("value", "The entitlement"),), "Things that she has, by the sender")
            .several(),
        Attribute::complex("roles", plural!(Attribute::text("value", "The role"),), "Roles that she has, by the sender").several(),
    ],
};

/// What enterprises say of Users besides.
pub const ENTERPRISE_USERS: Schema = Schema {
    id: ENTERPRISE,
    name: "EnterpriseUser",
    description: "What enterprises say of a person besides",
    attributes: &[
        Attribute::text("employeeNumber", "The number that the organisation gave her"),
        Attribute::text("costCenter", "The cost center"),
        Attribute::text("organization", "The organisation"),
        Attribute::text("division", "The division"),
        Attribute::text("department", "The department"),
        Attribute::complex("manager", MANAGER_PARTS, "The manager"),
    ],
};

/// Groups.
pub const GROUPS_OF_PEOPLE: Schema = Schema {
    id: GROUP,
    name: "Group",
    description: "A group of people",
    attributes: &[
        Attribute::text("displayName", "The name, by which a Source says which team it is").required(),
        Attribute::complex("members", MEMBERS, "Who is in it; of a Group that is in it the members are not followed").several(),
    ],
};

/// All of them.
pub const SCHEMAS: [&Schema; 3] = [&USERS, &GROUPS_OF_PEOPLE, &ENTERPRISE_USERS];

/// The schema of a type of resources.
pub const fn core(kind: ResourceKind) -> &'static Schema {
    match kind {
        ResourceKind::User => &USERS,
        ResourceKind::Group => &GROUPS_OF_PEOPLE,
    }
}

/// What extends it.
pub const fn extension(kind: ResourceKind) -> Option<&'static Schema> {
    match kind {
        ResourceKind::User => Some(&ENTERPRISE_USERS),
        ResourceKind::Group => None,
    }
}

/// The attribute of that name, in whatever case of letters (RFC 7643, section 2.1).
pub fn find(attributes: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}
