//! TLS: certificates, and what is done with them.

mod certificate;
mod provider;
mod x509;

pub use self::{
    certificate::{Certificate, CertificateError},
    x509::{X509, X509Error},
};

pub(crate) use self::provider::provider;
