//! Latents as tokens and back.

/// Latents [frames, channels, height, width] as tokens [count, channels * patch_size_t * patch_size^2].
///
/// Tokens count columns first, then rows, then frames; the features of a token are ordered (channel, frame, row,
/// column): for CogVideoX 1.0 the order of `CogVideoXPatchEmbed`'s convolution, for 1.5 that of its linear layer.
///
/// # Panics
///
/// If the latents are not of that shape, or the patches do not divide it.
pub fn patchify(
    latents: &[f32],
    shape: [usize; 4],
    patch_size: usize,
    patch_size_t: Option<usize>,
) -> Vec<f32> {
    assert_eq!(latents.len(), shape.iter().product::<usize>(), "latents of another shape");
    let mut tokens = Vec::with_capacity(latents.len());
    for_each_run(shape, patch_size, patch_size_t, |start| {
        tokens.extend_from_slice(&latents[start..start + patch_size]);
    });
    tokens
}

/// The transformer's output tokens as latents [frames, channels, height, width]: the inverse of [`patchify`], as the
/// last lines of `CogVideoXTransformer3DModel.forward` for both versions.
///
/// # Panics
///
/// If the tokens do not fill that shape, or the patches do not divide it.
pub fn unpatchify(
    tokens: &[f32],
    shape: [usize; 4],
    patch_size: usize,
    patch_size_t: Option<usize>,
) -> Vec<f32> {
    assert_eq!(tokens.len(), shape.iter().product::<usize>(), "tokens of another shape");
    let mut latents = vec![0.0; tokens.len()];
    let mut runs = tokens.chunks_exact(patch_size.max(1));
    for_each_run(shape, patch_size, patch_size_t, |start| {
        if let Some(run) = runs.next() {
            latents[start..start + patch_size].copy_from_slice(run);
        }
    });
    latents
}

/// Where each run of `patch_size` neighbouring latents starts, in the order in which the tokens hold them.
fn for_each_run(
    [frames, channels, height, width]: [usize; 4],
    p: usize,
    patch_size_t: Option<usize>,
    mut visit: impl FnMut(usize),
) {
    let p_t = patch_size_t.unwrap_or(1);
    let divides = |patch: usize, size: usize| patch > 0 && size.is_multiple_of(patch);
    assert!(
        divides(p, height) && divides(p, width) && divides(p_t, frames),
        "patches do not divide the latents"
    );
    for frame in (0..frames).step_by(p_t) {
        for row in (0..height).step_by(p) {
            for column in (0..width).step_by(p) {
                for channel in 0..channels {
                    for frame in frame..frame + p_t {
                        for row in row..row + p {
                            visit(((frame * channels + channel) * height + row) * width + column);
                        }
                    }
                }
            }
        }
    }
}
