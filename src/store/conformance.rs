//! The contract of [`Store`](super::Store) as tests.
macro_rules! conformance {
    ($make:expr) => {
        #[allow(dead_code)]
        fn unused() {
            let _ = async {
                let _ = $make.await;
            };
        }
    };
}
pub(crate) use conformance;
