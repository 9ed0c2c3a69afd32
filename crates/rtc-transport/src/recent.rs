//! What is known of the few RTP sources that were heard last.

/// Sources followed at once. A voice has one; more come only from a sender that makes them up, and then the oldest go.
const SOURCES: usize = 8;

/// Something for each of the sources heard last, of which the last entry is the one heard just now.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    entries: Vec<(u32, T)>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T> Recent<T> {
    /// The entry of a source that was heard, which is made if there is none; takes the same time however many sources
    /// there were.
    pub(crate) fn heard(&mut self, ssrc: u32, make: impl FnOnce() -> T) -> &mut T {
        match self.entries.iter().position(|(of, _)| *of == ssrc) {
            Some(at) => self.entries[at..].rotate_left(1),
            None => {
                if self.entries.len() == SOURCES {
                    self.entries.remove(0);
                }
                self.entries.push((ssrc, make()));
            }
        }
        let last = self.entries.len() - 1;
        &mut self.entries[last].1
    }

    pub(crate) fn get(&self, ssrc: u32) -> Option<&T> {
        self.entries.iter().find(|(of, _)| *of == ssrc).map(|(_, entry)| entry)
    }

    /// The source heard just now.
    pub(crate) fn last_mut(&mut self) -> Option<&mut T> {
        self.entries.last_mut().map(|(_, entry)| entry)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.entries.iter_mut().map(|(ssrc, entry)| (*ssrc, entry))
    }

    pub(crate) fn forget(&mut self, ssrc: u32) {
        self.entries.retain(|(of, _)| *of != ssrc);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_are_made_up_push_out_each_other_and_not_the_one_that_goes_on() {
        let mut recent = Recent::default();
        for made_up in 1_000..200_000u32 {
            *recent.heard(7, || 0) += 1;
            recent.heard(made_up, || 0);
        }
        assert_eq!((recent.len(), recent.get(7)), (SOURCES, Some(&199_000)));
        assert_eq!(recent.get(1_000), None);
        recent.heard(7, || 0);
        assert_eq!(recent.last_mut(), Some(&mut 199_000));
        recent.forget(7);
        assert_eq!((recent.len(), recent.get(7)), (SOURCES - 1, None));
    }
}
