/// Why a job was not queued.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SubmitError {
    /// As many jobs wait as may.
    #[error("the queue is full: {depth} jobs wait, and no more may")]
    QueueFull {
        /// Jobs that may wait.
        depth: usize,
    },
    /// The worker is shutting down.
    #[error("the worker takes no more jobs: it is shutting down")]
    Stopped,
}

/// Why a queued job gave no result.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum JobError {
    /// The model could not be loaded: once and for all where it is to be kept, for this job where
    /// it is released after use.
    #[error("the model could not be loaded: {0}")]
    Load(String),
    /// The job panicked; the worker goes on.
    #[error("the job panicked: {0}")]
    Panicked(String),
    /// The worker ended before the job's turn.
    #[error("the worker shut down before the job's turn")]
    Stopped,
}
