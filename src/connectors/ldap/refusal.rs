//! What a directory's result codes (RFC 4511, appendix A) mean for usher.

use std::fmt::Display;

use ldap3::{LdapError, LdapResult};

use crate::connectors::error::ConnectorError;

/// Of what a directory says no more than this is told.
const MOST_WORDS: usize = 300;

/// Result codes that mean something of their own somewhere.
pub(super) mod code {
    pub const SIZE_LIMIT: u32 = 4;
    pub const NO_SUCH_ATTRIBUTE: u32 = 16;
    pub const UNDEFINED_TYPE: u32 = 17;
    pub const CONSTRAINT: u32 = 19;
    pub const VALUE_EXISTS: u32 = 20;
    pub const NO_SUCH_OBJECT: u32 = 32;
    pub const OBJECT_CLASS: u32 = 65;
    pub const ENTRY_EXISTS: u32 = 68;
    pub const ASSERTION_FAILED: u32 = 122;
}

/// The error of a result that is no success.
pub(super) fn error(operation: &str, result: &LdapResult) -> ConnectorError {
    let operation = operation.to_owned();
    let said = said(result);
    match result.rc {
        // What is said of usher's own login, its rights, or of how it talks.
        7 | 8 | 13 | 48 | 49 | 50 => ConnectorError::Unauthorized { operation, status: said },
        // Half an answer is none.
        3 | code::SIZE_LIMIT | 11 => ConnectorError::Garbled {
            operation,
            message: format!(
                "{said}: the directory keeps a part of the answer back; let usher's bind DN read without limits (OpenLDAP: olcLimits with size.prtotal=unlimited)"
            ),
        },
        10 => ConnectorError::InvalidSettings {
            field: "url",
            message: format!("{said}: this server refers usher to another one; write the URL of the server that takes changes"),
        },
        1 | 51 | 52 | 80 => ConnectorError::unreachable(operation, said),
        _ => ConnectorError::Rejected { operation, message: said },
    }
}

/// The words of a result, on one line and bounded.
pub(super) fn said(result: &LdapResult) -> String {
    let words: String = result.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let words: String = words.chars().take(MOST_WORDS).collect();
    let name = match result.rc {
        3 => "time limit exceeded",
        code::SIZE_LIMIT => "size limit exceeded",
        8 => "stronger authentication required",
        10 => "referral",
        11 => "administrative limit exceeded",
        12 => "a control is not supported",
        13 => "confidentiality required",
        code::NO_SUCH_ATTRIBUTE => "no such attribute",
        code::UNDEFINED_TYPE => "undefined attribute type",
        code::CONSTRAINT => "constraint violation",
        code::VALUE_EXISTS => "attribute or value exists",
        21 => "invalid syntax",
        code::NO_SUCH_OBJECT => "no such entry",
        34 => "invalid DN",
        48 => "inappropriate authentication",
        49 => "invalid credentials",
        50 => "insufficient access",
        51 => "busy",
        52 => "unavailable",
        53 => "unwilling to perform",
        64 => "naming violation",
        code::OBJECT_CLASS => "object class violation",
        66 => "there are entries below it",
        67 => "not allowed on what names the entry",
        code::ENTRY_EXISTS => "the entry exists already",
        code::ASSERTION_FAILED => "it changed meanwhile",
        _ => "refused",
    };
    let number = result.rc;
    if words.is_empty() { format!("{name} ({number})") } else { format!("{name} ({number}): {words}") }
}

/// Why there is no connection, or no answer on it. The texts of the library hold no request.
pub(super) fn broken(operation: &str, error: LdapError) -> ConnectorError {
    match error {
        LdapError::LdapResult { result } => match self::error(operation, &result) {
            ConnectorError::Rejected { message, .. } => {
                let message = format!("{message}: if the directory does not do StartTLS, write ldaps://");
                ConnectorError::InvalidSettings { field: "url", message }
            }
            other => other,
        },
        LdapError::DNSName { .. } | LdapError::UrlParsing { .. } | LdapError::UnknownScheme(_) => {
            let message = "write ldaps://host or ldap://host, with a host name or an IPv4 address that is in the certificate".to_owned();
            ConnectorError::InvalidSettings { field: "url", message }
        }
        LdapError::Io { source } => ConnectorError::unreachable(operation, source),
        LdapError::Rustls { source } => ConnectorError::unreachable(operation, source),
        LdapError::Timeout { .. } => silent(operation),
        _ => ConnectorError::unreachable(operation, "the connection was cut"),
    }
}

/// There was no answer in time.
pub(super) fn silent(operation: &str) -> ConnectorError {
    ConnectorError::unreachable(operation, "no answer in time")
}

/// An answer that is not as the protocol has it.
pub(super) fn garbled(operation: &str, message: impl Display) -> ConnectorError {
    ConnectorError::Garbled { operation: operation.to_owned(), message: message.to_string() }
}

/// A refusal in words of usher's own.
pub(super) fn rejected(operation: &str, message: impl Display) -> ConnectorError {
    ConnectorError::Rejected { operation: operation.to_owned(), message: message.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;

    fn result(rc: u32, text: &str) -> LdapResult {
        LdapResult { rc, matched: String::new(), text: text.to_owned(), refs: Vec::new(), ctrls: Vec::new() }
    }

    #[test]
    fn codes_have_reasons() {
        for (codes, reason) in [
            (&[8, 13, 48, 49, 50][..], Reason::Unauthorized),
            (&[3, 4, 11, 51, 52, 80], Reason::Unreachable),
            (&[19, 20, 21, 32, 53, 65, 66, 68], Reason::ChangeRejected),
            (&[10], Reason::InvalidSpec),
        ] {
            for code in codes {
                assert_eq!(error("try", &result(*code, "")).reason(), reason, "{code}");
            }
        }
    }

    #[test]
    fn what_is_said_is_one_bounded_line() {
        let text = said(&result(19, &format!("no\nuid\t twice {}", "x".repeat(5_000))));
        assert!(text.starts_with("constraint violation (19): no uid twice x") && text.len() < 400, "{text}");
    }
}
