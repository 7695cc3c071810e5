//! Whose request it is. A peer shows it by the certificate of its connection, by a token, or, where both are agreed, by
//! both; a peer with neither is believed by its name alone, which is acceptable on loopback only. What a site may do once
//! it is known is not decided here.

use std::collections::BTreeMap;
use std::fmt;
use std::hint::black_box;
use std::str::FromStr;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use landbridge_core::SiteName;
use thiserror::Error;

/// The shortest token.
pub const TOKEN_CHARS_MIN: usize = 16;
/// The longest token.
pub const TOKEN_CHARS_MAX: usize = 256;

/// A secret that two sites share. It prints nowhere.
#[derive(Clone)]
pub struct Token(Box<str>);

/// Not a token. The sentence does not repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a token has {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} letters, digits and signs of ASCII, without spaces; \
     `openssl rand -hex 16` makes one"
)]
pub struct TokenError;

impl Token {
    /// Whether `presented` is this token. The time it takes depends on what was presented, not on the secret.
    fn is(&self, presented: &str) -> bool {
        let secret = self.0.as_bytes();
        let mut difference = secret.len() ^ presented.len();
        for (theirs, ours) in presented.bytes().zip(secret.iter().cycle()) {
            difference |= usize::from(black_box(theirs ^ ours));
        }
        black_box(difference) == 0
    }

    /// For the header of a request.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(s: &str) -> Result<Self, TokenError> {
        let long = (TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&s.len());
        if long && s.bytes().all(|b| b.is_ascii_graphic()) { Ok(Self(s.into())) } else { Err(TokenError) }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why the peers of a site cannot be told apart.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthError {
    /// The same peer twice.
    #[error("the peer {0} is named twice")]
    Peer(SiteName),
    /// One token for two peers.
    #[error("the peers {0} and {1} have the same token; each needs its own")]
    Shared(SiteName, SiteName),
}

/// The peers of a site and their tokens.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    peers: BTreeMap<SiteName, Option<Token>>,
}

/// Who sends a request, as far as its header tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// This site, by its token.
    Known(SiteName),
    /// One of the sites without a token; the message has to say which.
    Unnamed,
}

/// The header, or the name without one, is of no peer: which of the two is not told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stranger;

impl Auth {
    /// Of the peers of this site, each with its token where it has one.
    pub fn new(peers: impl IntoIterator<Item = (SiteName, Option<Token>)>) -> Result<Self, AuthError> {
        let mut known: BTreeMap<SiteName, Option<Token>> = BTreeMap::new();
        for (peer, token) in peers {
            let same = |other: &Token| token.as_ref().is_some_and(|token| token.is(other.secret()));
            if let Some((other, _)) = known.iter().find(|(_, other)| other.as_ref().is_some_and(same)) {
                return Err(AuthError::Shared(other.clone(), peer));
            }
            if known.contains_key(&peer) {
                return Err(AuthError::Peer(peer));
            }
            known.insert(peer, token);
        }
        Ok(Self { peers: known })
    }

    /// Who sends a request with these headers over a connection on which `shown` has shown its certificate. Every token is
    /// compared, whichever it is.
    pub(crate) fn caller(&self, headers: &HeaderMap, shown: Option<&SiteName>) -> Result<Caller, Stranger> {
        let Some(shown) = shown else { return self.by_token(headers) };
        match self.peers.get(shown) {
            // No token is agreed: what is sent all the same is nobody's affair.
            Some(None) => Ok(Caller::Known(shown.clone())),
            Some(Some(_)) => match self.by_token(headers)? {
                Caller::Known(site) if site == *shown => Ok(Caller::Known(site)),
                _ => Err(Stranger),
            },
            None => Err(Stranger),
        }
    }

    fn by_token(&self, headers: &HeaderMap) -> Result<Caller, Stranger> {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let Some(header) = given.next() else {
            return if self.peers.values().any(Option::is_none) { Ok(Caller::Unnamed) } else { Err(Stranger) };
        };
        let bearer = header.to_str().ok().and_then(|text| text.split_once(' '));
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, presented)) = bearer else { return Err(Stranger) };
        if given.next().is_some() || presented.len() > TOKEN_CHARS_MAX {
            return Err(Stranger);
        }
        let mut found = None;
        for (peer, token) in &self.peers {
            if token.as_ref().is_some_and(|token| token.is(presented)) {
                found = Some(peer);
            }
        }
        found.map(|peer| Caller::Known(peer.clone())).ok_or(Stranger)
    }

    /// Whether a request without a token may call itself `from`.
    pub(crate) fn by_name(&self, from: &SiteName) -> Result<(), Stranger> {
        if matches!(self.peers.get(from), Some(None)) { Ok(()) } else { Err(Stranger) }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const OF_N: &str = "token-of-N-0123456789";
    const OF_C: &str = "token-of-C-0123456789";

    fn site(name: &str) -> SiteName {
        name.parse().unwrap()
    }

    fn token(text: &str) -> Option<Token> {
        Some(text.parse().unwrap())
    }

    fn caller(auth: &Auth, headers: &[&str]) -> Result<Caller, Stranger> {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        auth.caller(&map, None)
    }

    #[test]
    fn a_token_names_its_site_and_no_other() {
        let auth = Auth::new([(site("N"), token(OF_N)), (site("C"), token(OF_C))]).unwrap();
        assert_eq!(caller(&auth, &[&format!("Bearer {OF_N}")]), Ok(Caller::Known(site("N"))));
        assert_eq!(caller(&auth, &[&format!("bearer {OF_C}")]), Ok(Caller::Known(site("C"))));
        let twice = format!("{OF_N}{OF_N}");
        for wrong in [&OF_N[..20], &twice, "", "x"] {
            assert_eq!(caller(&auth, &[&format!("Bearer {wrong}")]), Err(Stranger), "{wrong}");
        }
        assert_eq!(caller(&auth, &[OF_N]), Err(Stranger));
        assert_eq!(caller(&auth, &[&format!("Basic {OF_N}")]), Err(Stranger));
        assert_eq!(caller(&auth, &[&format!("Bearer {OF_N}"), &format!("Bearer {OF_C}")]), Err(Stranger));
        assert_eq!(caller(&auth, &[]), Err(Stranger));
    }

    #[test]
    fn a_certificate_names_its_site_and_an_agreed_token_is_needed_besides() {
        let auth = Auth::new([(site("N"), token(OF_N)), (site("C"), None)]).unwrap();
        let caller = |shown: &str, header: Option<&str>| {
            let mut map = HeaderMap::new();
            if let Some(secret) = header {
                map.append(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {secret}")).unwrap());
            }
            auth.caller(&map, Some(&site(shown)))
        };
        assert_eq!(caller("C", None), Ok(Caller::Known(site("C"))));
        assert_eq!(caller("C", Some(OF_N)), Ok(Caller::Known(site("C"))));
        assert_eq!(caller("N", Some(OF_N)), Ok(Caller::Known(site("N"))));
        for (shown, header) in [("N", None), ("N", Some(OF_C)), ("X", None), ("X", Some(OF_N))] {
            assert_eq!(caller(shown, header), Err(Stranger), "{shown}");
        }
    }

    #[test]
    fn only_a_peer_without_a_token_is_believed_by_its_name() {
        let auth = Auth::new([(site("N"), token(OF_N)), (site("C"), None)]).unwrap();
        assert_eq!(caller(&auth, &[]), Ok(Caller::Unnamed));
        assert_eq!(auth.by_name(&site("C")), Ok(()));
        assert_eq!(auth.by_name(&site("N")), Err(Stranger));
        assert_eq!(auth.by_name(&site("X")), Err(Stranger));
    }

    #[test]
    fn peers_that_cannot_be_told_apart_are_refused() {
        let shared = Auth::new([(site("C"), token(OF_N)), (site("N"), token(OF_N))]).unwrap_err();
        assert_eq!(shared.to_string(), "the peers C and N have the same token; each needs its own");
        assert_eq!(Auth::new([(site("N"), None), (site("N"), None)]).unwrap_err(), AuthError::Peer(site("N")));
    }

    #[test]
    fn a_token_prints_nowhere() {
        let auth = Auth::new([(site("N"), token(OF_N))]).unwrap();
        assert!(!format!("{auth:?}").contains(OF_N));
        for bad in ["short", "with a space in between", "0123456789abcdef\n", "schlüssel-0123456789", &"a".repeat(257)]
        {
            let sentence = bad.parse::<Token>().unwrap_err().to_string();
            assert!(!sentence.contains(bad), "{sentence}");
        }
    }
}
