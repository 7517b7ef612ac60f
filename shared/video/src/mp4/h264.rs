use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, QpRange,
    RateControlMode, SpsPpsStrategy, VuiConfig,
};
use openh264::formats::YUVSource;
use openh264::{OpenH264API, Timestamp};

use crate::{FrameSize, VideoError};

/// The quantizer of every block, on H.264's scale of 0 to 51.
///
/// One quantizer throughout is constant quality: bits go where the clip needs them, and a frame does not depend on what
/// comes after it. Clips are short, so their size matters less than that nothing shows. OpenH264 drops lone small
/// coefficients; at 18, where other encoders show nothing, that leaves coloured specks behind moving shapes.
///
/// OpenH264's buffer holds about 8 bits a pixel. Only noise takes more; from such a frame on the next quantizer is used, and
/// the last one brings any picture below it.
const QUANTIZERS: [u8; 4] = [14, 26, 38, 50];

/// What OpenH264 answers when a frame is over its buffer (`cmMallocMemeError`). That encoder is lost.
const OVER_BUFFER: i64 = 3;

/// Frames from one that can be decoded by itself to the next: players can seek to it, and 200 frames have a few.
const KEY_FRAME_PERIOD: u32 = 48;

/// Pictures to H.264 access units in Annex B form: constrained baseline, which every player has.
pub(super) struct H264Encoder {
    encoder: Encoder,
    /// Quantizers coarser than the encoder's.
    coarser: &'static [u8],
    size: FrameSize,
    fps: u32,
    annex_b: Vec<u8>,
}

/// One compressed picture.
pub(super) struct Picture<'a> {
    /// Decodable by itself; parameter sets come with it.
    pub(super) is_key: bool,
    pub(super) annex_b: &'a [u8],
}

impl H264Encoder {
    pub(super) fn new(size: FrameSize, fps: u32) -> Result<Self, VideoError> {
        let [finest, ref coarser @ ..] = QUANTIZERS;
        let encoder = start(size, fps, finest, 0)?;
        Ok(Self { encoder, coarser, size, fps, annex_b: Vec::new() })
    }

    pub(super) fn encode(
        &mut self,
        frame: usize,
        planes: &impl YUVSource,
    ) -> Result<Picture<'_>, VideoError> {
        let is_key = loop {
            match (self.encode_once(frame, planes), self.coarser) {
                (Err(VideoError::H264 { source, .. }), [next, coarser @ ..])
                    if source.native_code() == OVER_BUFFER =>
                {
                    self.encoder = start(self.size, self.fps, *next, frame)?;
                    self.coarser = coarser;
                }
                (result, _) => break result?,
            }
        };
        Ok(Picture { is_key, annex_b: &self.annex_b })
    }

    /// Fills `annex_b`; whether the picture is a key frame.
    fn encode_once(&mut self, frame: usize, planes: &impl YUVSource) -> Result<bool, VideoError> {
        let time = Timestamp::from_millis(frame as u64 * 1000 / u64::from(self.fps));
        let stream = self
            .encoder
            .encode_at(planes, time)
            .map_err(|source| VideoError::H264 { frame, source })?;
        let is_key = match stream.frame_type() {
            FrameType::IDR => true,
            FrameType::I | FrameType::P => false,
            FrameType::Skip | FrameType::IPMixed | FrameType::Invalid => {
                return Err(VideoError::H264Stream { frame, expected: "a picture", found: "none" });
            }
        };
        self.annex_b.clear();
        stream.write_vec(&mut self.annex_b);
        Ok(is_key)
    }
}

/// An encoder whose first picture is the clip's `frame`.
fn start(size: FrameSize, fps: u32, quantizer: u8, frame: usize) -> Result<Encoder, VideoError> {
    Encoder::with_api_config(OpenH264API::from_source(), config(size, fps, quantizer))
        .map_err(|source| VideoError::H264 { frame, source })
}

fn config(size: FrameSize, fps: u32, quantizer: u8) -> EncoderConfig {
    EncoderConfig::new()
        // With both ends of the range equal no rate control has a choice left, and this one never drops a frame. (With rate
        // control off the quantizer is 26 and cannot be set through the crate; the others warn on stderr.)
        .rate_control_mode(RateControlMode::Bufferbased)
        .qp(QpRange::new(quantizer, quantizer))
        .bitrate(BitRate::from_bps(declared_bitrate(size, fps)))
        .skip_frames(false)
        // These spend fewer bits where a camera's picture can bear it, which generated pictures often cannot.
        .scene_change_detect(false)
        .adaptive_quantization(false)
        .background_detection(false)
        .complexity(Complexity::High)
        .intra_frame_period(IntraFramePeriod::from_num_frames(KEY_FRAME_PERIOD))
        .sps_pps_strategy(SpsPpsStrategy::ConstantId)
        .max_frame_rate(FrameRate::from_hz(fps as f32))
        .vui(VuiConfig::bt709())
        // A clip's slices are encoded one after another: the bytes cannot depend on the machine.
        .num_threads(1)
}

/// Only the level in the stream's header follows from it: one bit a pixel, several times what moving shapes take, and at most
/// what the highest level allows.
fn declared_bitrate(size: FrameSize, fps: u32) -> u32 {
    const LEVEL_5_2: u32 = 240_000_000;
    size.width.saturating_mul(size.height).saturating_mul(fps).min(LEVEL_5_2)
}
