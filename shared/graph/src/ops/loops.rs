use cogwheel_tensor::DType;

use super::attribute;
use crate::{GraphBuilder, GraphError, Value};

impl GraphBuilder {
    /// Applies `body` to each slice of `values` along their first axis, which all have in common,
    /// one slice after the other; the results are stacked likewise.
    ///
    /// Slices are not copied, and results are written where they end up. `body` sees the values
    /// around it; a weight it uses is the model's.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn each(
        &mut self,
        values: &[&Value],
        body: impl FnOnce(&mut Self, &[Value]) -> Result<Vec<Value>, GraphError>,
    ) -> Result<Vec<Value>, GraphError> {
        let dtypes: Vec<DType> = values.iter().map(|value| value.dtype()).collect();
        let (part, results) = self.part(&dtypes, body)?;
        let attributes = vec![
            attribute::int("num_scan_inputs", values.len() as i64),
            attribute::graph("body", part),
        ];
        Ok(self.apply_all(("", "Scan"), values, attributes, &results))
    }
}
