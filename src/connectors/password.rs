//! Passwords that nobody chose.

use data_encoding::BASE64URL_NOPAD;
use secrecy::SecretString;

/// 192 bits of the system's randomness as text, with a letter of each sort and a sign, as many systems ask for.
pub fn generate() -> Result<SecretString, getrandom::Error> {
    let mut bytes = [0_u8; 24];
    getrandom::fill(&mut bytes)?;
    Ok(SecretString::from(format!("{}-aA1", BASE64URL_NOPAD.encode(&bytes))))
}
