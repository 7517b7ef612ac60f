use cogwheel_graph::{Dim, GraphBuilder, GraphError, Value};
use cogwheel_tensor::DType;

use super::{causal_conv::Place, frames::latent_frames_name};

/// Where in the decoder an activation lies: how many of its rows, columns and frames come from one of the latents.
#[derive(Clone, Debug)]
pub(super) struct Resolution {
    /// That of its convolutions.
    pub(super) place: Place,
    /// The chunk of latents, [frames, channels, height, width], on which every norm is conditioned.
    pub(super) latents: Value,
    /// How often time was doubled: 0 has the latents' own frames.
    pub(super) time_level: usize,
    /// Height of the latents, i64 of shape [1].
    pub(super) latent_height: Value,
    /// Width of the activation, i64 of shape [1].
    pub(super) width: Value,
    /// Which latent frame each frame comes from, where time was doubled.
    pub(super) latent_frames: Option<Value>,
}

impl Resolution {
    /// That of the latents themselves.
    pub(super) fn of_latents(g: &mut GraphBuilder, latents: &Value) -> Result<Self, GraphError> {
        let shape = g.shape_of(latents);
        let (latent_height, width) = (g.slice(&shape, 0, 2, 3), g.slice(&shape, 0, 3, 4));
        let frames = g.slice(&shape, 0, 0, 1);
        let (place, latents) = (Place::new(g, 1, &frames)?, latents.clone());
        Ok(Self { place, latents, time_level: 0, latent_height, width, latent_frames: None })
    }

    /// Twice as many rows and columns.
    pub(super) fn doubled(&self, g: &mut GraphBuilder) -> Result<Self, GraphError> {
        let two = g.ints(&[2]);
        let width = g.mul(&self.width, &two)?;
        let place = Place { scale: self.place.scale * 2, ..self.place.clone() };
        Ok(Self { place, width, ..self.clone() })
    }

    /// The next doubling of time; declares the input that maps its frames to those of the latents.
    pub(super) fn next_time_level(&self, g: &mut GraphBuilder) -> Result<Self, GraphError> {
        let time_level = self.time_level + 1;
        let name = latent_frames_name(time_level);
        let latent_frames = g.input(&name, DType::I64, &[frame_count(time_level)])?;
        let frames = g.shape_of(&latent_frames);
        let place = Place::new(g, self.place.scale, &frames)?;
        Ok(Self { place, time_level, latent_frames: Some(latent_frames), ..self.clone() })
    }

    /// Height and width of the graph's inputs and outputs at this many pixels to a latent.
    pub(super) fn dims(scale: usize) -> [Dim; 2] {
        match scale {
            1 => [Dim::Free("height"), Dim::Free("width")],
            2 => [Dim::Free("height_2"), Dim::Free("width_2")],
            4 => [Dim::Free("height_4"), Dim::Free("width_4")],
            _ => [Dim::Free("height_8"), Dim::Free("width_8")],
        }
    }
}

/// The dimension of frames after so many doublings of time.
pub(super) fn frame_count(time_level: usize) -> Dim {
    Dim::Free(if time_level == 1 { "frames_1" } else { "frames" })
}
