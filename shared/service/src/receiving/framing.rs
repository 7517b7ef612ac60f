/// Bytes before each message: a flag and the message's length, big-endian (gRPC over HTTP/2).
const HEADER: usize = 5;

/// Where the bytes of a call stand among its messages.
#[derive(Debug, Default)]
pub(super) struct Framing {
    header: [u8; HEADER],
    /// Bytes of the header that have come.
    begun: usize,
    /// Bytes of the message that are still to come.
    left: usize,
    /// Bytes of it that have come, its header included.
    pending: usize,
}

impl Framing {
    /// Takes what came next; gives the bytes of the message that is not whole yet.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> usize {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.begun < HEADER {
                self.header[self.begun] = first;
                self.begun += 1;
                self.pending += 1;
                bytes = rest;
                if self.begun == HEADER {
                    let [_, length @ ..] = self.header;
                    self.left = u32::from_be_bytes(length) as usize;
                }
            } else {
                let taken = bytes.len().min(self.left);
                self.left -= taken;
                self.pending += taken;
                bytes = &bytes[taken..];
            }
            if self.begun == HEADER && self.left == 0 {
                (self.begun, self.pending) = (0, 0);
            }
        }
        self.pending
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_counts_until_it_is_whole() {
        let mut framing = Framing::default();
        assert_eq!(framing.push(&[0, 0, 0]), 3);
        assert_eq!(framing.push(&[0, 4, 1]), 6);
        assert_eq!(framing.push(&[1, 1]), 8);
        assert_eq!(framing.push(&[1]), 0);
        assert_eq!(framing.push(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 9]), 6);
        assert_eq!(framing.push(&[9, 0]), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_count_alike(bytes in vec(any::<u8>(), 0..200), at in 0..200_usize) {
            let mut whole = Framing::default();
            let (first, second) = bytes.split_at(at.min(bytes.len()));
            let mut pieces = Framing::default();
            pieces.push(first);
            prop_assert_eq!(whole.push(&bytes), pieces.push(second));
            prop_assert!(whole.push(&[]) <= bytes.len());
        }
    }
}
