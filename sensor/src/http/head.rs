//! The heads of requests and responses.
//!
//! Values that authenticate somebody are dropped here, at the one place where every
//! field passes; what leaves this file says only that the field was there.

/// Fields of a head or trailer, names in lower case, in order of appearance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(Box<str>, Box<str>)>);

impl Fields {
    /// Adds a field; the value of a credential is replaced by the empty string.
    pub fn push(&mut self, name: &str, value: &str) {
        let name = name.to_ascii_lowercase();
        let value = if is_credential(&name) {
            ""
        } else {
            value.trim_ascii()
        };
        self.0.push((name.into_boxed_str(), value.into()));
    }

    /// The first value of `name` (given in lower case).
    pub fn first(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (&**n, &**v))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether the field `name` (lower case) carries something that authenticates.
pub fn is_credential(name: &str) -> bool {
    const EXACT: [&str; 6] = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "api-key",
        "ocp-apim-subscription-key",
    ];
    EXACT.contains(&name)
        || name.ends_with("-api-key")
        || name.ends_with("-token")
        || name.ends_with("-secret")
        || name.ends_with("-authorization")
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    pub method: Box<str>,
    /// `:authority`, or the `Host` field.
    pub authority: Option<Box<str>>,
    /// Path with query as sent, the values of credentials in the query dropped.
    /// `None` where HPACK hid it.
    pub target: Option<Box<str>>,
    pub fields: Fields,
    pub version: Version,
    /// Whether some field of the head is unknown (joined amid an HTTP/2 connection).
    pub partial: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// `None` where HPACK hid it.
    pub status: Option<u16>,
    pub fields: Fields,
    pub partial: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    Http10,
    #[default]
    Http11,
    Http2,
}

impl RequestHead {
    /// The path without its query.
    pub fn path(&self) -> &str {
        self.target
            .as_deref()
            .map_or("", |t| t.split(['?', '#']).next().unwrap_or(t))
    }

    /// The first value of `name` in the query, as sent.
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.as_deref()?.split_once('?')?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == name).then_some(value)
        })
    }

    /// Host of the authority, without its port and without brackets.
    pub fn host(&self) -> Option<&str> {
        let authority = self.authority.as_deref()?;
        let authority = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        if let Some(rest) = authority.strip_prefix('[') {
            return rest.split(']').next();
        }
        authority.split(':').next()
    }

    /// Port of the authority, where it names one.
    pub fn port(&self) -> Option<u16> {
        let authority = self.authority.as_deref()?;
        let (host, port) = authority.rsplit_once(':')?;
        if host.starts_with('[') && !host.ends_with(']') {
            return None;
        }
        port.parse().ok()
    }
}
