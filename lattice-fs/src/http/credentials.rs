//! The `Authorization` header: a token's id and secret as `Bearer id:secret`, as `Bearer id.secret` (a colon is outside of
//! the grammar that some clients hold bearer tokens to), or as `Basic`, for `curl -u id:secret`.
//!
//! Nothing of it is ever printed: an id may be a secret that was pasted into the wrong place.

use axum::http::{HeaderMap, header};
use data_encoding::BASE64;
use lattice_engine::access::{TokenId, TokenSecret};

/// What a request shows.
#[derive(Debug)]
pub enum Shown {
    /// No such header.
    Nothing,
    /// One that holds no token.
    Unreadable,
    Token(TokenId, TokenSecret),
}

pub fn shown(headers: &HeaderMap) -> Shown {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Shown::Nothing,
        (Some(value), None) => value.to_str().ok().and_then(read).unwrap_or(Shown::Unreadable),
        // Two of them are one too many to tell whose request it is.
        (Some(_), Some(_)) => Shown::Unreadable,
    }
}

fn read(value: &str) -> Option<Shown> {
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return pair(rest);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = zeroize::Zeroizing::new(String::from_utf8(BASE64.decode(rest.as_bytes()).ok()?).ok()?);
    pair(&text)
}

fn pair(text: &str) -> Option<Shown> {
    let (id, secret) = text.split_once([':', '.'])?;
    Some(Shown::Token(id.parse().ok()?, TokenSecret::from_text(secret)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[&str]) -> Shown {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().expect("a value"));
        }
        shown(&headers)
    }

    #[test]
    fn a_token_is_read_in_each_of_its_forms() {
        let secret = TokenSecret::new([7; 32]);
        let (id, text) = (secret.id(), secret.to_text());
        let text = text.as_str();
        let basic = BASE64.encode(format!("{id}:{text}").as_bytes());
        for value in [
            format!("Bearer {id}:{text}"),
            format!("bearer {id}.{text}"),
            format!("Bearer   {id}:{text} "),
            format!("Basic {basic}"),
        ] {
            match of(&[&value]) {
                Shown::Token(shown, secret) => assert_eq!((shown, secret.id()), (id, id)),
                other => panic!("{value}: {other:?}"),
            }
        }
        for value in [
            format!("Bearer {id}"),
            format!("Bearer {id}:{}", &text[1..]),
            format!("Bearer {text}:{id}"),
            format!("Digest {id}:{text}"),
            format!("Basic {id}:{text}"),
            format!("{id}:{text}"),
            "Bearer".into(),
            "Bearer :".into(),
            String::new(),
        ] {
            assert!(matches!(of(&[&value]), Shown::Unreadable), "{value}");
        }
        let good = format!("Bearer {id}:{text}");
        assert!(matches!(of(&[&good, &good]), Shown::Unreadable), "two are one too many");
        assert!(matches!(of(&[]), Shown::Nothing));
    }

    proptest! {
        #[test]
        fn no_header_panics(value in "(Bearer|Basic|basic )?[ -~]{0,80}") {
            let _ = of(&[&value]);
        }
    }
}
