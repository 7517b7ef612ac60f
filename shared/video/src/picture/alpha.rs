/// RGBA to RGB on white, each value rounded; whether any pixel let it through.
pub(crate) fn flatten(rgba: &[u8]) -> (Vec<u8>, bool) {
    let mut transparent = false;
    let mut rgb = Vec::with_capacity(rgba.len() / 4 * 3);
    for pixel in rgba.chunks_exact(4) {
        let alpha = u32::from(pixel[3]);
        transparent |= alpha != 255;
        let on_white =
            |value: u8| ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        rgb.extend([on_white(pixel[0]), on_white(pixel[1]), on_white(pixel[2])]);
    }
    (rgb, transparent)
}
