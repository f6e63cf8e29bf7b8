//! What joins two GPUs.

use std::{fmt, str::FromStr};

use serde::Serialize;
use worldpm_ort_bundle::Bytes;

/// Share of a link's nominal rate that is counted on, when the link is given by name.
const SHARE: f64 = 0.8;

/// What joins two GPUs, as its maker describes it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KnownLink {
    /// Short name.
    pub name: &'static str,
    /// Bytes a second in one direction.
    pub bandwidth: f64,
    /// Where that is from.
    pub source: &'static str,
}

const fn known(name: &'static str, gigabytes_per_second: f64, source: &'static str) -> KnownLink {
    KnownLink {
        name,
        bandwidth: gigabytes_per_second * 1e9,
        source,
    }
}

/// The links that are known by name. Data sheets give NVLink in both directions together: half of it here.
pub const LINKS: [KnownLink; 7] = [
    known(
        "pcie3",
        15.75,
        "PCI Express 3.0, 16 lanes: 8 GT/s, 128b/130b",
    ),
    known(
        "pcie4",
        31.5,
        "PCI Express 4.0, 16 lanes: 16 GT/s, 128b/130b",
    ),
    known(
        "pcie5",
        63.0,
        "PCI Express 5.0, 16 lanes: 32 GT/s, 128b/130b",
    ),
    known(
        "nvlink-bridge",
        56.25,
        "NVIDIA A40 data sheet, 112.5 GB/s in both directions",
    ),
    known(
        "nvlink3",
        300.0,
        "NVIDIA A100 data sheet, 600 GB/s in both directions",
    ),
    known(
        "nvlink4",
        450.0,
        "NVIDIA H100 data sheet, SXM, 900 GB/s in both directions",
    ),
    known(
        "nvlink5",
        900.0,
        "NVIDIA Blackwell data sheet, 1.8 TB/s in both directions",
    ),
];

/// How fast hidden states go from one GPU to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Bytes a second that are counted on.
    pub bandwidth: f64,
    /// The link, when it was given by name.
    pub known: Option<KnownLink>,
}

impl Link {
    /// The link of this name, at 80% of its nominal rate.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let known = LINKS
            .into_iter()
            .find(|link| link.name.eq_ignore_ascii_case(name))?;
        Some(Self {
            bandwidth: known.bandwidth * SHARE,
            known: Some(known),
        })
    }

    /// Seconds that `bytes` take, after `latency`.
    #[must_use]
    pub fn seconds(&self, bytes: u64, latency: f64) -> f64 {
        latency + bytes as f64 / self.bandwidth
    }
}

impl FromStr for Link {
    type Err = LinkError;

    /// A name, or a measured rate as in `24GB/s`, which is taken as it is.
    fn from_str(given: &str) -> Result<Self, LinkError> {
        if let Some(link) = Self::named(given) {
            return Ok(link);
        }
        let rate = given.strip_suffix("/s").and_then(|size| size.parse().ok());
        let Some(Bytes(bytes)) = rate else {
            return Err(LinkError(given.to_owned()));
        };
        Ok(Self {
            bandwidth: bytes as f64,
            known: None,
        })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.bandwidth / 1e9;
        match self.known {
            Some(known) => write!(
                f,
                "{}: {rate:.1} GB/s, {:.0}% of {:.2} in one direction ({})",
                known.name,
                SHARE * 100.0,
                known.bandwidth / 1e9,
                known.source
            ),
            None => write!(f, "{rate:.1} GB/s, as given"),
        }
    }
}

/// Text that names no link.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no link; give a rate in one direction, as in 24GB/s, or one of {list}", list = names())]
pub struct LinkError(String);

fn names() -> String {
    LINKS.map(|link| link.name).join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_rates() {
        let link: Link = "NVLink4".parse().unwrap();
        assert_eq!(link.bandwidth, 360e9);
        // 32 MiB of hidden states after 10 microseconds.
        let seconds = link.seconds(32 << 20, 10e-6);
        assert!((seconds - (10e-6 + 33_554_432.0 / 360e9)).abs() < 1e-15);
        let measured: Link = "24GB/s".parse().unwrap();
        assert_eq!((measured.bandwidth, measured.known), (24e9, None));
        for text in ["", "24", "24GB", "24G/s", "nvlink", "0GB/s"] {
            let error = text.parse::<Link>().unwrap_err().to_string();
            assert!(error.contains("24GB/s, or one of pcie3, "), "{error}");
        }
    }
}
