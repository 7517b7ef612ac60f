use font8x8::{BASIC_FONTS, UnicodeFonts as _};

/// Pixels of a letter's side.
pub(crate) const LETTER: usize = 8;

/// Draws a line of text into a picture of `width` pixels a row; what does not fit is left out.
pub(crate) fn draw(
    picture: &mut [u8],
    width: usize,
    [x, y]: [usize; 2],
    text: &str,
    color: [u8; 3],
) {
    for (index, letter) in text.chars().enumerate() {
        let left = x + index * LETTER;
        let Some(rows) = BASIC_FONTS.get(letter).filter(|_| left + LETTER <= width) else {
            continue;
        };
        for (row, bits) in rows.iter().enumerate() {
            for column in (0..LETTER).filter(|column| bits >> column & 1 == 1) {
                let at = ((y + row) * width + left + column) * 3;
                if let Some(pixel) = picture.get_mut(at..at + 3) {
                    pixel.copy_from_slice(&color);
                }
            }
        }
    }
}
