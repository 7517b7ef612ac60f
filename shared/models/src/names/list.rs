use cogwheel_weights::ExpectedTensor;

/// A list under way, with the layers that all models are made of.
#[derive(Default)]
pub(crate) struct List(pub(crate) Vec<ExpectedTensor>);

impl List {
    pub(crate) fn tensor(&mut self, name: String, shape: impl Into<Vec<usize>>) {
        self.0.push(ExpectedTensor::new(name, shape));
    }

    /// `weight` [output, input] and `bias` [output].
    pub(crate) fn linear(&mut self, name: &str, input: usize, output: usize) {
        self.tensor(format!("{name}.weight"), [output, input]);
        self.tensor(format!("{name}.bias"), [output]);
    }

    /// `weight` and `bias` of a norm over `dim` channels.
    pub(crate) fn norm(&mut self, name: &str, dim: usize) {
        self.tensor(format!("{name}.weight"), [dim]);
        self.tensor(format!("{name}.bias"), [dim]);
    }

    /// `weight` [output, input, kernel...] and `bias` [output].
    pub(crate) fn conv(&mut self, name: &str, input: usize, output: usize, kernel: &[usize]) {
        self.tensor(format!("{name}.weight"), [&[output, input], kernel].concat());
        self.tensor(format!("{name}.bias"), [output]);
    }
}
