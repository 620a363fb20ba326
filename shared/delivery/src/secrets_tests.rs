use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::tests::{ManualClock, run};

#[test]
fn environment_and_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret").to_str().unwrap().to_owned();
    std::fs::write(&path, "s3cret\r\n").unwrap();
    let store = Secrets::new(Arc::new(|name| (name == "T").then(|| "token".to_owned())));
    assert_eq!(run(store.fetch(&SecretRef::Env("T".into()))).unwrap().expose(), "token");
    assert_eq!(run(store.fetch(&SecretRef::File(path.clone()))).unwrap().expose(), "s3cret");
    std::fs::write(&path, "\n").unwrap();
    for missing in [SecretRef::Env("U".into()), SecretRef::File(path), SecretRef::Ssm("x".into())] {
        let error = run(store.fetch(&missing)).unwrap_err();
        assert_eq!(error.kind(), tidegate_core::ErrorKind::Invalid, "{error}");
    }
}

struct Counting(AtomicUsize);

#[async_trait]
impl SecretStore for Counting {
    async fn fetch(&self, _: &SecretRef) -> Result<Secret> {
        Ok(Secret::new(self.0.fetch_add(1, Ordering::SeqCst).to_string()))
    }
}

#[test]
fn cached_for_a_bounded_time() {
    let clock = Arc::new(ManualClock::default());
    let store = CachedSecrets::new(Counting(AtomicUsize::new(0)), clock.clone(), DEFAULT_SECRET_TTL);
    let fetch = || run(store.fetch(&SecretRef::Ssm("x".into()))).unwrap().expose().to_owned();
    assert_eq!((fetch(), fetch()), ("0".into(), "0".into()));
    run(clock.sleep(DEFAULT_SECRET_TTL));
    assert_eq!(fetch(), "1");
    let again = run(store.fetch_again(&SecretRef::Ssm("x".into()))).unwrap();
    assert_eq!((again.expose(), fetch()), ("2", "2".into()), "what is fetched again is known from then on");
}
