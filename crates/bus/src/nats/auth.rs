//! Who we are to the NATS server.

use std::path::PathBuf;

use async_nats::{AuthError, ConnectOptions};
use nkeys::KeyPair;

use super::options::{InvalidOptions, read};

/// Who we are. Files are read for each connection, so that new credentials need no new process.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    /// A file with credentials: a JWT and a seed.
    pub creds: Option<PathBuf>,
    /// A file with the seed of an nkey.
    pub nkey: Option<PathBuf>,
    /// A name.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// A token.
    pub token: Option<String>,
}

impl Auth {
    /// What the library needs to know of it. Fails if it cannot be used as it is now.
    pub(super) fn connect_options(&self) -> Result<ConnectOptions, InvalidOptions> {
        if self.user.is_some() != self.password.is_some() {
            return Err(InvalidOptions::Combination("a user needs a password"));
        }
        self.card(b"")?;
        let auth = self.clone();
        Ok(ConnectOptions::with_auth_callback(move |nonce| {
            let card = auth.card(&nonce).map_err(AuthError::new);
            std::future::ready(card)
        }))
    }

    /// What is shown to a server that wants this `nonce` signed.
    fn card(&self, nonce: &[u8]) -> Result<async_nats::Auth, InvalidOptions> {
        let mut card = async_nats::Auth::new();
        card.username.clone_from(&self.user);
        card.password.clone_from(&self.password);
        card.token.clone_from(&self.token);
        for (file, is_key) in [(&self.creds, false), (&self.nkey, true)] {
            let Some(file) = file else { continue };
            let text = read(file)?;
            let unusable = |why| InvalidOptions::Unusable {
                file: file.clone(),
                why,
            };
            let seed = if is_key {
                text.trim()
            } else {
                let jwt =
                    section(&text, "NATS USER JWT").ok_or(unusable("it has no JWT of a user"))?;
                card.jwt = Some(jwt.to_owned());
                section(&text, "USER NKEY SEED").ok_or(unusable("it has no seed of a user"))?
            };
            let key = KeyPair::from_seed(seed).map_err(|_| unusable("it has no valid seed"))?;
            let signature = key.sign(nonce);
            card.signature = Some(signature.map_err(|_| unusable("its seed cannot sign"))?);
            if is_key {
                card.nkey = Some(key.public_key());
            }
        }
        Ok(card)
    }
}

/// What stands between the two lines that name a section of a file with credentials.
fn section<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| is_rule(line, "BEGIN", name))?;
    let content = lines.next()?;
    lines.find(|line| is_rule(line, "END", name))?;
    Some(content).filter(|content| !content.is_empty())
}

/// Whether a line is `-----BEGIN NAME-----`, with any number of dashes.
fn is_rule(line: &str, word: &str, name: &str) -> bool {
    let inner = line.trim_matches('-').trim();
    line.starts_with("---")
        && inner
            .strip_prefix(word)
            .is_some_and(|rest| rest.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the tools of NATS write it.
    const CREDS: &str = "-----BEGIN NATS USER JWT-----\nheader.body.signature\n\
        ------END NATS USER JWT------\n\n************************* IMPORTANT *****\n\n\
        -----BEGIN USER NKEY SEED-----\nSUAX\n------END USER NKEY SEED------\n";

    #[test]
    fn sections_are_found_however_they_are_ruled() {
        assert_eq!(
            section(CREDS, "NATS USER JWT"),
            Some("header.body.signature")
        );
        assert_eq!(section(CREDS, "USER NKEY SEED"), Some("SUAX"));
        assert_eq!(section(CREDS, "SEED"), None);
        assert_eq!(
            section(&CREDS.replace('\n', "\r\n"), "USER NKEY SEED"),
            Some("SUAX")
        );
        assert_eq!(
            section("-----BEGIN USER NKEY SEED-----\nSUAX", "USER NKEY SEED"),
            None
        );
    }
}
