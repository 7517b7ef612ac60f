use std::{marker::PhantomData, ops::Range};

/// A slice that several threads write, each its own parts.
#[derive(Debug)]
pub(crate) struct SharedSlice<'a, T> {
    start: *mut T,
    length: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it is the exclusive borrow of a slice, whose parts go to one thread each (see `part` and `pointer`).
unsafe impl<T: Send> Sync for SharedSlice<'_, T> {}

impl<'a, T> SharedSlice<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), slice: PhantomData }
    }

    /// # Safety
    /// While the part is in use nobody else has an element of it.
    #[allow(clippy::mut_from_ref, reason = "that is what it is for")]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: within the slice, and the caller's alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// Where an element lies. What is done with it must keep to the rule of [`Self::part`].
    pub(crate) fn pointer(&self, index: usize) -> *mut T {
        assert!(index < self.length);
        self.start.wrapping_add(index)
    }
}
