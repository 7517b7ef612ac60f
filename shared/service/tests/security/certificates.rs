use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};

/// Who gives certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// How long a certificate is good.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validity {
    Good,
    Expired,
}

/// A certificate's and its key's files.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        // Authorities of one name would be taken for each other.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut params = CertificateParams::default();
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate in a file.
    pub(crate) fn write(&self, path: &Path) -> PathBuf {
        std::fs::write(path, self.0.pem()).unwrap();
        path.to_owned()
    }

    /// Gives a certificate for these names and addresses; writes it to `NAME.crt` and `NAME.key`.
    pub(crate) fn issue(
        &self,
        folder: &Path,
        name: &str,
        names: &[&str],
        validity: Validity,
    ) -> Pair {
        let is_uri = |name: &&&str| name.contains("://");
        let others = names.iter().filter(|name| !is_uri(name)).map(|name| (*name).to_owned());
        let mut params = CertificateParams::new(others.collect::<Vec<String>>()).unwrap();
        for uri in names.iter().filter(is_uri) {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        if validity == Validity::Expired {
            (params.not_before, params.not_after) =
                (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let path = |ending: &str| folder.join(format!("{name}.{ending}"));
        let pair = Pair { cert: path("crt"), key: path("key") };
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();
        std::fs::write(&pair.cert, certificate.pem()).unwrap();
        pair
    }
}
