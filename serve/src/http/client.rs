//! Who asks.

use std::{
    convert::Infallible,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

use axum::extract::FromRequestParts;
use http::request::Parts;
use worldpm_ort_runtime::queue::Caller;

/// Who asks: clients have equal shares of the engine while each of them waits for something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// By a socket of this machine.
    #[default]
    Local,
    /// From an address, without a key.
    Address(IpAddr),
    /// With the key of this number.
    Key(usize),
}

impl Client {
    pub(crate) fn caller(self) -> Caller {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        Caller(hasher.finish())
    }
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or_default())
    }
}
