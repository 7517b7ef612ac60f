use std::fmt;
use std::marker::PhantomData;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// How a call is refused.
pub(super) struct Check<F, R>(F, PhantomData<R>);

impl<F: AsyncFn(R) -> Result<T, Status>, R, T: fmt::Debug> Check<F, R> {
    pub(super) fn new(call: F) -> Self {
        Self(call, PhantomData)
    }

    /// It is refused for this field alone; `text` is in its description.
    pub(super) async fn refused(&self, request: R, field: &str, text: &str) {
        let status = self.all_refused(request, &[field]).await;
        let violations = status.get_details_bad_request().unwrap().field_violations;
        let description = &violations[0].description;
        assert!(description.contains(text), "expected '{text}' in '{description}'");
    }

    /// It is refused for exactly these fields.
    pub(super) async fn all_refused(&self, request: R, fields: &[&str]) -> Status {
        let status = (self.0)(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        let found: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(found, fields, "{status}");
        status
    }
}
