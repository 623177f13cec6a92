//! What a certificate says of itself. In: its bytes, which anybody may have made. Out: who signed it, for whom,
//! and until when.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Names that are kept.
const NAMES_MAX: usize = 8;

/// What it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    /// Who signed it: the common name, else the organisation
    pub issuer: String,
    /// It signed itself
    pub is_self_signed: bool,
    /// The hosts that it is for
    pub names: Vec<String>,
    /// When it begins and ends, seconds since 1970
    pub valid: (i64, i64),
}

impl About {
    /// Reads it; `None` for what is none.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let issuer = certificate.issuer();
        let first = |mut values: Box<dyn Iterator<Item = String> + '_>| values.next();
        let common: Box<dyn Iterator<Item = String>> =
            Box::new(issuer.iter_common_name().filter_map(|name| Some(name.as_str().ok()?.to_owned())));
        let organisation: Box<dyn Iterator<Item = String>> =
            Box::new(issuer.iter_organization().filter_map(|name| Some(name.as_str().ok()?.to_owned())));
        let issuer = first(common).or_else(|| first(organisation)).unwrap_or_else(|| issuer.to_string());
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.into_iter().flat_map(|names| names.value.general_names.iter());
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        let validity = certificate.validity();
        Some(Self {
            issuer,
            is_self_signed: certificate.issuer() == certificate.subject(),
            names: names.take(NAMES_MAX).collect(),
            valid: (validity.not_before.timestamp(), validity.not_after.timestamp()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_issuer_and_validity_are_read_and_rubbish_is_none() {
        let made = rcgen::generate_simple_self_signed(vec!["proxy.test".into(), "b.test".into()]).unwrap();
        let about = About::read(made.cert.der()).unwrap();
        assert_eq!(about.names, ["proxy.test", "b.test"]);
        assert!(
            about.is_self_signed && about.valid.0 < about.valid.1 && !about.issuer.is_empty(),
            "{about:?}"
        );
        for rubbish in [&b""[..], b"\x30\x82", &made.cert.der()[..40], &[0xff; 64]] {
            assert_eq!(About::read(rubbish), None);
        }
    }
}
