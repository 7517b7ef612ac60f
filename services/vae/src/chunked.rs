use std::time::Duration;

use cogwheel_engine::{CancellationToken, Input, Output, Session};
use cogwheel_models::vae::ConvCache;
use cogwheel_tensor::Tensor;

use crate::VaeError;

/// What one chunk of a clip hands over to the next; nothing before the first.
///
/// Two sets of buffers that take turns for the length of a clip, outside the arena that a chunk is computed in: memory is
/// then the same from the second chunk to the last.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    caches: Vec<Output>,
    /// Where the next caches go.
    room: Vec<Output>,
}

impl Carried {
    /// Whether the next chunk is the first.
    pub(crate) fn is_empty(&self) -> bool {
        self.caches.is_empty()
    }
}

/// The encoder's or decoder's graph, run chunk by chunk.
#[derive(Debug)]
pub(crate) struct ChunkedGraph {
    session: Session,
    /// What one chunk hands over to the next.
    caches: Vec<ConvCache>,
}

impl ChunkedGraph {
    /// Of a session of a graph that has these caches.
    pub(crate) fn new(session: Session, caches: Vec<ConvCache>) -> Self {
        Self { session, caches }
    }

    /// Runs one chunk, `name` being its input and `latent_sides` height and width in latents; `carried` are the caches that
    /// the chunk before it gave, none for the first one. Gives what the graph makes of it and the caches for the next one;
    /// nothing of a graph without outputs.
    ///
    /// # Errors
    /// Sizes that no tensor can have, or what ONNX Runtime says.
    pub(crate) fn run(
        &mut self,
        (name, chunk): (&str, &Tensor),
        indices: &[(String, Tensor)],
        [height, width]: [usize; 2],
        carried: Carried,
        cancellation: &CancellationToken,
    ) -> Result<Option<(Tensor, Carried)>, VaeError> {
        let is_first = carried.is_empty();
        let empty = self.caches.iter().filter(|_| is_first).map(|cache| cache.empty(height, width));
        let empty = empty.collect::<Result<Vec<_>, _>>()?;

        let mut inputs: Vec<(&str, Input<'_>)> = vec![(name, chunk.into())];
        inputs.extend(indices.iter().map(|(name, tensor)| (name.as_str(), tensor.into())));
        let names = || self.caches.iter().map(|cache| cache.input.as_str());
        inputs.extend(names().zip(empty.iter().map(Input::from)));
        inputs.extend(names().zip(carried.caches.iter().map(Input::from)));

        let room = match carried.room {
            room if room.is_empty() => self.room(height, width)?,
            room => room,
        };
        let mut outputs = self.session.run_into(&inputs, room, cancellation)?;
        let caches = outputs.split_off(outputs.len().min(1));
        let Some(made) = outputs.pop() else { return Ok(None) };
        Ok(Some((made.into_tensor()?, Carried { caches, room: carried.caches })))
    }

    /// Room for a chunk's caches.
    fn room(&self, height: usize, width: usize) -> Result<Vec<Output>, VaeError> {
        let room = self
            .caches
            .iter()
            .map(|cache| Ok(Output::room(&cache.output, &cache.next_shape(height, width)?)?));
        room.collect()
    }

    /// Time spent inside ONNX Runtime by all runs so far.
    pub(crate) fn time_inside(&self) -> Duration {
        self.session.time_inside()
    }
}
