use cogwheel_graph::{Dim, GraphBuilder, GraphError, Value};
use cogwheel_tensor::{DType, Tensor, TensorError};

use super::io;
use crate::config::TransformerConfig;

/// Rows that a chunk best has: enough to make use of a weight once it is read, few enough to stay
/// in a core's cache. Measured at the published widths: a feed-forward of 3,840 rows takes 0.84
/// of the time in chunks of 384, 0.85 in chunks of 240, and 0.92 in chunks of 128.
const BEST_ROWS: usize = 384;
const FEWEST_ROWS: usize = 192;
const MOST_ROWS: usize = 512;
/// Rows that kernels compute together: a last group that is not full takes the time of one that is.
const ROW_GROUP: usize = 32;

/// How the tokens of a batch are cut into chunks of equally many rows.
///
/// A chunk is modulated as a whole, so it holds tokens of the video or of the text, of one sample
/// or of several; a last row is repeated where there are too few. The video's chunks come first.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunks {
    /// i64 `[video chunks, rows]`: where each row is among the rows of all sequences (text first),
    /// one sample after the other.
    pub video_chunks: Tensor,
    /// i64 `[text chunks, rows]`: the same for the text.
    pub text_chunks: Tensor,
    /// i64 `[chunks]`: 0 for video, 1 for text.
    pub chunk_kinds: Tensor,
    /// i64 `[batch, text + video tokens]`: where each token is among the rows of all chunks.
    pub sequences: Tensor,
}

impl Chunks {
    /// For a batch of sequences of `text` and `video` tokens each, none of them zero.
    ///
    /// # Errors
    /// Sizes beyond what can be addressed.
    pub fn new(batch: usize, text: usize, video: usize) -> Result<Self, TensorError> {
        let length = text.saturating_add(video);
        let total = batch.checked_mul(length).filter(|&total| total <= isize::MAX as usize / 8);
        if total.is_none() {
            return Err(TensorError::Overflow { dtype: DType::I64, shape: vec![batch, length] });
        }
        let (text_rows, video_rows) = (batch * text, batch * video);
        let rows = rows_of_chunk(text_rows, video_rows);
        let cut = |count: usize, tokens: usize, start: usize| {
            let chunks = count.div_ceil(rows);
            let place = |row: usize| (row / tokens * length + start + row % tokens) as i64;
            let places = (0..chunks * rows).map(|row| place(row.min(count - 1))).collect();
            Tensor::from_i64([chunks, rows], places)
        };
        let video_chunks = cut(video_rows, video, text)?;
        let text_chunks = cut(text_rows, text, 0)?;
        let (of_video, of_text) = (video_chunks.shape()[0], text_chunks.shape()[0]);
        let kinds = [vec![0; of_video], vec![1; of_text]].concat();
        let text_start = of_video * rows;
        let sequences = (0..batch).flat_map(|sample| {
            let of_text = (0..text).map(move |token| text_start + sample * text + token);
            of_text.chain((0..video).map(move |token| sample * video + token))
        });
        Ok(Self {
            chunk_kinds: Tensor::from_i64([of_video + of_text], kinds)?,
            sequences: Tensor::from_i64(
                [batch, length],
                sequences.map(|row| row as i64).collect(),
            )?,
            video_chunks,
            text_chunks,
        })
    }

    /// The graph's inputs.
    pub fn inputs(&self) -> [(&'static str, &Tensor); 4] {
        [
            (io::VIDEO_CHUNKS, &self.video_chunks),
            (io::TEXT_CHUNKS, &self.text_chunks),
            (io::CHUNK_KINDS, &self.chunk_kinds),
            (io::SEQUENCES, &self.sequences),
        ]
    }
}

/// The number of rows with which the fewest are computed, and that is the nearest to the best.
fn rows_of_chunk(text_rows: usize, video_rows: usize) -> usize {
    let most = text_rows.max(video_rows).clamp(1, MOST_ROWS);
    let computed = |rows: usize| {
        let chunks = text_rows.div_ceil(rows) + video_rows.div_ceil(rows);
        chunks.saturating_mul(rows.next_multiple_of(ROW_GROUP))
    };
    (FEWEST_ROWS.min(most)..=most)
        .min_by_key(|&rows| (computed(rows), rows.abs_diff(BEST_ROWS)))
        .unwrap_or(most)
}

/// The layout as values of the graph.
pub(super) struct Layout {
    /// `[chunks, rows]`.
    pub(super) all_chunks: Value,
    /// `[video chunks, rows]`.
    pub(super) video_chunks: Value,
    /// `[chunks]`.
    kinds: Value,
    /// `[batch, text + video tokens]`.
    sequences: Value,
    text_tokens: usize,
    inner: usize,
}

impl Layout {
    pub(super) fn new(
        g: &mut GraphBuilder,
        config: &TransformerConfig,
    ) -> Result<Self, GraphError> {
        let rows = Dim::Free("rows");
        let video = [Dim::Free("video_chunks"), rows];
        let video_chunks = g.input(io::VIDEO_CHUNKS, DType::I64, &video)?;
        let text = [Dim::Free("text_chunks"), rows];
        let text_chunks = g.input(io::TEXT_CHUNKS, DType::I64, &text)?;
        let kinds = g.input(io::CHUNK_KINDS, DType::I64, &[Dim::Free("chunks")])?;
        let dims = [Dim::Free("batch"), Dim::Free("joint_tokens")];
        let sequences = g.input(io::SEQUENCES, DType::I64, &dims)?;
        let all_chunks = g.concat(&[&video_chunks, &text_chunks], 0)?;
        let text_tokens = config.max_text_seq_length;
        let inner = config.inner_dim();
        Ok(Self { all_chunks, video_chunks, kinds, sequences, text_tokens, inner })
    }

    /// `[batch, text + video tokens, inner_dim]` as `chunks` of it, `[chunks, rows, inner_dim]`.
    pub(super) fn chunked(&self, g: &mut GraphBuilder, x: &Value, chunks: &Value) -> Value {
        let x = g.reshape(x, &[-1, self.inner as i64]);
        g.gather(&x, chunks, 0)
    }

    /// `[chunks, rows, inner_dim]`, or the same with a row for each head, as
    /// `[batch, text + video tokens, inner_dim]`.
    pub(super) fn joint_sequences(&self, g: &mut GraphBuilder, x: &Value) -> Value {
        let x = g.reshape(x, &[-1, self.inner as i64]);
        g.gather(&x, &self.sequences, 0)
    }

    /// `[video chunks, rows, features]` as `[batch, tokens, features]`.
    pub(super) fn video_sequences(
        &self,
        g: &mut GraphBuilder,
        x: &Value,
        features: usize,
    ) -> Value {
        let x = g.reshape(x, &[-1, features as i64]);
        let video = g.slice(&self.sequences, 1, self.text_tokens as i64, i64::MAX);
        g.gather(&x, &video, 0)
    }

    /// Of something for each chunk, that for the video's.
    pub(super) fn first_video_chunks(&self, g: &mut GraphBuilder, x: &Value) -> Value {
        let shape = g.shape_of(&self.video_chunks);
        let count = g.slice(&shape, 0, 0, 1);
        g.take(x, &count)
    }

    /// `[2, channels]`, for video and for text, as `[chunks, channels]`.
    pub(super) fn for_each_chunk(&self, g: &mut GraphBuilder, x: &Value) -> Value {
        g.gather(x, &self.kinds, 0)
    }
}

#[cfg(test)]
mod tests;
